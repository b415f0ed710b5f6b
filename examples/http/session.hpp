// session: the HTTP side of one connection: bytes of requests in, bytes of answers out.
//
// No input or output here, so that a plain epoll server and a fiber per connection differ in
// nothing but how they wait. The owner reads into buffer(), calls feed(), writes what was appended
// to the output, and closes when closing() says so: shut down the writing side and read on to the
// end, since closing with unread input would make the kernel reset the connection and the answer
// may be lost.
#pragma once

#include <charconv>
#include <cstring>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "parser.hpp"

namespace http {

struct Reply {
  int status = 200;
  std::string_view type = "text/plain; charset=utf-8";
  std::string_view body;  // must live until the next request is asked about
};

inline constexpr std::string_view kPage =
    "<!doctype html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>gort</title></head>\n"
    "<body><h1>It works.</h1>\n"
    "<p>Each connection is served by a fiber of its own. Try <a href=\"/hello\">/hello</a> and\n"
    "<a href=\"/stats\">/stats</a>.</p></body></html>\n";

inline constexpr std::string_view reason_of(int status) noexcept {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    default:
      return "Bad Request";
  }
}

// An answer that consists of its own name: "404 Not Found".
inline Reply plain(int status) noexcept {
  return {.status = status, .body = {}};
}

// The two fixed pages; 404 for every other path.
inline Reply pages(const Request& request) noexcept {
  const std::string_view path = request.path();
  if (path == "/hello") return {.body = "Hello, World!"};
  if (path == "/") return {.type = "text/html; charset=utf-8", .body = kPage};
  return plain(404);
}

class Session {
 public:
  // Where the next bytes of the connection go. Never empty.
  [[nodiscard]] std::span<char> buffer() noexcept {
    return {input_.get() + filled_, kHeaderBytesMax - filled_};
  }

  // n bytes have been put into buffer(): appends the answers of all requests that are now complete
  // to `out`. handler(request) -> Reply is asked for GET and HEAD.
  template <class Handler>
  void feed(size_t n, std::string& out, Handler&& handler) {
    filled_ += n;
    std::string_view input(input_.get(), filled_);
    while (!closing_) {
      size_t used = 0;
      const Parsed parsed = parser_.parse(input, &used);
      input.remove_prefix(used);
      if (parsed == Parsed::more) break;
      if (parsed == Parsed::expects) {
        out.append("HTTP/1.1 100 Continue\r\n\r\n");
        continue;
      }
      if (parsed == Parsed::rejected) {
        closing_ = true;
        append(out, plain(parser_.status()), verb::get, 11);
        break;
      }
      answer(out, handler);
    }
    keep(closing_ ? std::string_view() : input);
  }

  // The connection is to be closed once the output has been written.
  [[nodiscard]] bool closing() const noexcept { return closing_; }

  // The next answer shall be the last.
  void close_soon() noexcept { last_ = true; }

  // No request has been begun that is not answered.
  [[nodiscard]] bool idle() const noexcept { return parser_.idle() && filled_ == 0; }

  [[nodiscard]] uint64_t served() const noexcept { return served_; }

 private:
  template <class Handler>
  void answer(std::string& out, Handler&& handler) {
    const Request& request = parser_.request();
    closing_ = last_ || !request.keep_alive;
    const bool readable = request.method == verb::get || request.method == verb::head;
    append(out, readable ? handler(request) : plain(405), request.method, request.version);
    ++served_;
  }

  void append(std::string& out, const Reply& reply, verb method, int version) {
    char number[24];
    const std::string_view reason = reason_of(reply.status);
    const std::string_view body = reply.body.empty() ? reason : reply.body;
    out.append("HTTP/1.1 ");
    out.append(number, std::to_chars(number, std::end(number), reply.status).ptr);
    out.append(" ").append(reason).append("\r\nServer: gort\r\nDate: ").append(date());
    out.append("\r\nContent-Type: ").append(reply.type).append("\r\nContent-Length: ");
    out.append(number, std::to_chars(number, std::end(number), body.size()).ptr);
    if (reply.status == 405) out.append("\r\nAllow: GET, HEAD");
    if (closing_) {
      out.append("\r\nConnection: close");
    } else if (version == 10) {
      out.append("\r\nConnection: keep-alive");
    }
    out.append("\r\n\r\n");
    if (method != verb::head) out.append(body);
  }

  // Moves the unused bytes to the front.
  void keep(std::string_view rest) noexcept {
    if (!rest.empty()) std::memmove(input_.get(), rest.data(), rest.size());
    filled_ = rest.size();
  }

  // Formatted once a second and connection.
  std::string_view date() noexcept {
    const time_t now = ::time(nullptr);
    if (now != date_time_) {
      date_time_ = now;
      tm parts{};
      ::gmtime_r(&now, &parts);
      // strftime would ask the locale for the names.
      static constexpr char kDays[] = "SunMonTueWedThuFriSat";
      static constexpr char kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
      std::memcpy(date_, "Day, 00 Mon 0000 00:00:00 GMT", kDateBytes);
      std::memcpy(date_, kDays + 3 * parts.tm_wday, 3);
      std::memcpy(date_ + 8, kMonths + 3 * parts.tm_mon, 3);
      two_digits(date_ + 5, parts.tm_mday);
      two_digits(date_ + 12, (parts.tm_year + 1900) / 100);
      two_digits(date_ + 14, (parts.tm_year + 1900) % 100);
      two_digits(date_ + 17, parts.tm_hour);
      two_digits(date_ + 20, parts.tm_min);
      two_digits(date_ + 23, parts.tm_sec);
    }
    return {date_, kDateBytes};
  }

  static void two_digits(char* at, int value) noexcept {
    at[0] = static_cast<char>('0' + value / 10 % 10);
    at[1] = static_cast<char>('0' + value % 10);
  }

  static constexpr size_t kDateBytes = 29;

  RequestParser parser_;
  // Not initialised: only the pages that input reaches become resident.
  std::unique_ptr<char[]> input_ = std::make_unique_for_overwrite<char[]>(kHeaderBytesMax);
  size_t filled_ = 0;
  uint64_t served_ = 0;
  time_t date_time_ = 0;
  char date_[kDateBytes] = {};
  bool closing_ = false;
  bool last_ = false;
};

}  // namespace http
