// parser: HTTP/1.x requests out of a stream of bytes, by Boost.Beast's incremental parser.
//
// Beast knows the grammar, Content-Length, chunked bodies and the meaning of Connection; this class
// adds what a server needs around it: one limit for the whole header, whichever way it was cut into
// reads; nothing allocated per request; and the status to answer when a request is not acceptable.
// Bodies are read and dropped. It does no input or output: a plain epoll server and one with a
// fiber per connection use it alike.
#pragma once

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace http {

namespace beast = boost::beast;
using beast::http::verb;

inline constexpr size_t kHeaderBytesMax = 16 * 1024;
inline constexpr uint64_t kBodyBytesMax = 1024 * 1024;

struct Request {
  verb method = verb::unknown;
  std::string target;  // its memory is used again by the next request of the connection
  int version = 11;    // 10 or 11
  bool keep_alive = true;

  // The target without query, and without scheme and host where the client sent the absolute form.
  [[nodiscard]] std::string_view path() const noexcept {
    std::string_view path = target;
    constexpr std::string_view kScheme = "http://";
    if (path.starts_with(kScheme)) {
      const size_t slash = path.find('/', kScheme.size());
      path = slash == std::string_view::npos ? std::string_view("/") : path.substr(slash);
    }
    return path.substr(0, path.find('?'));
  }
};

// What parse() came to.
enum class Parsed : uint8_t {
  more,      // the request is not complete: call again with the unused bytes and what follows them
  request,   // request() is complete; the next call begins another
  expects,   // the client waits for "100 Continue" before it sends the body; then call again
  rejected,  // answer status() and close: where the next request would begin is unknown
};

class RequestParser {
 public:
  RequestParser() { message_.emplace(request_); }
  RequestParser(const RequestParser&) = delete;  // the message points into the parser
  RequestParser& operator=(const RequestParser&) = delete;

  // Consumes bytes at the front of `input`, at most one request; *used says how many. The caller
  // keeps the others and shows them again. A buffer of kHeaderBytesMax always has room for what
  // must be kept.
  [[nodiscard]] Parsed parse(std::string_view input, size_t* used) {
    const size_t size = input.size();
    if (done_) begin();
    if (!message_->got_some()) skip_empty_lines(input);
    // Half an empty line: Beast would take it for the beginning of a request.
    const bool half = !message_->got_some() && input == "\r";
    const Parsed result = half ? Parsed::more : advance(input);
    *used = size - input.size();
    return result;
  }

  [[nodiscard]] const Request& request() const noexcept { return request_; }
  [[nodiscard]] int status() const noexcept { return status_; }

  // True between two requests: the peer owes us nothing.
  [[nodiscard]] bool idle() const noexcept { return done_ || !message_->got_some(); }

 private:
  // Beast calls these as it goes through the message. The views it gives die with the input buffer,
  // so what must outlive one call is copied or decided at once.
  class Message final : public beast::http::basic_parser<true> {
   public:
    explicit Message(Request& request) noexcept : request_(request) {
      header_limit(static_cast<uint32_t>(kHeaderBytesMax));
      body_limit(kBodyBytesMax);
    }
    bool has_host = false;
    bool has_transfer_encoding = false;
    bool expects_continue = false;
    bool expects_other = false;

   private:
    using field = beast::http::field;
    using error_code = beast::error_code;
    using string_view = beast::string_view;

    void on_request_impl(verb method, string_view, string_view target, int version,
                         error_code&) override {
      request_.method = method;
      request_.target.assign(target.data(), target.size());
      request_.version = version;
    }
    void on_field_impl(field name, string_view, string_view value, error_code&) override {
      if (name == field::host) {
        has_host = true;
      } else if (name == field::transfer_encoding) {
        has_transfer_encoding = true;
      } else if (name == field::expect) {
        (beast::iequals(value, "100-continue") ? expects_continue : expects_other) = true;
      }
    }
    size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
    size_t on_chunk_body_impl(uint64_t, string_view body, error_code&) override {
      return body.size();
    }
    void on_response_impl(int, string_view, int, error_code&) override {}
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
    void on_chunk_header_impl(uint64_t, string_view, error_code&) override {}
    void on_finish_impl(error_code&) override {}

    Request& request_;
  };

  // "0" CR LF CR LF: as much is missing while a chunked body has not ended.
  static constexpr size_t kLastChunkBytes = 5;

  void begin() {
    message_.emplace(request_);
    header_bytes_ = 0;
    done_ = false;
    told_to_continue_ = false;
  }

  // RFC 9112, 2.2: a server should ignore empty lines before the request line.
  static void skip_empty_lines(std::string_view& input) noexcept {
    while (input.starts_with("\r\n")) input.remove_prefix(2);
  }

  Parsed advance(std::string_view& input) {
    while (!input.empty()) {
      const bool in_header = !message_->is_header_done();
      // Beast asserts that it is shown no less of a last chunk when it comes back to it.
      if (!in_header && message_->chunked() && input.size() < kLastChunkBytes) return Parsed::more;
      const size_t room = in_header ? kHeaderBytesMax - header_bytes_ : input.size();
      beast::error_code ec;
      const size_t n = message_->put({input.data(), std::min(room, input.size())}, ec);
      input.remove_prefix(n);
      if (in_header) header_bytes_ += n;
      if (ec == beast::http::error::need_more) return more(input.size());
      if (ec) return reject(status_of(ec));
      if (in_header && message_->is_header_done()) {
        const int status = check_header();
        if (status != 0) return reject(status);
      }
      if (message_->is_done()) {
        done_ = true;
        return Parsed::request;
      }
      // A client that has begun to send the body does not wait any more.
      if (message_->expects_continue && request_.version == 11 && !told_to_continue_ &&
          input.empty()) {
        told_to_continue_ = true;
        return Parsed::expects;
      }
    }
    return Parsed::more;
  }

  // What is left must fit into the caller's buffer: fields of the header into the header's limit,
  // the extensions of a chunk into the same number of bytes.
  Parsed more(size_t left) noexcept {
    if (!message_->is_header_done()) {
      return header_bytes_ + left >= kHeaderBytesMax ? reject(431) : Parsed::more;
    }
    return left >= kHeaderBytesMax ? reject(400) : Parsed::more;
  }

  // What Beast leaves to the server. 0: acceptable.
  int check_header() noexcept {
    request_.keep_alive = message_->keep_alive();
    if (request_.version == 11 && !message_->has_host) return 400;  // RFC 9112, 3.2
    // A last coding that is not "chunked": where the body ends is unknown (RFC 9112, 6.3).
    if (message_->has_transfer_encoding && !message_->chunked()) return 501;
    if (message_->has_transfer_encoding && request_.version == 10) return 400;
    return message_->expects_other ? 417 : 0;
  }

  static int status_of(const beast::error_code& ec) noexcept {
    if (ec == beast::http::error::header_limit) return 431;
    if (ec == beast::http::error::body_limit) return 413;
    return 400;
  }

  Parsed reject(int status) noexcept {
    status_ = status;
    return Parsed::rejected;
  }

  Request request_;
  std::optional<Message> message_;  // made anew for each request: Beast's parser has no reset
  size_t header_bytes_ = 0;
  int status_ = 0;
  bool done_ = false;
  bool told_to_continue_ = false;
};

}  // namespace http
