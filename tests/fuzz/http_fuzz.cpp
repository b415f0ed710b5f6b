// The example server's requests. The input: a byte that seeds the cuts, then what the client sends, in
// which a byte 0x01 and a count repeat the character before them, so that a short input reaches the
// limits of header and body.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "http/session.hpp"

namespace gort::fuzz {
namespace {

constexpr size_t kSentBytesMax = 64 * 1024;

std::string expanded(Input input) {
  constexpr char kRepeat = '\x01';
  constexpr size_t kRepeatUnit = 67;  // 255 of them are more than the header's limit
  std::string out;
  while (!input.empty() && out.size() < kSentBytesMax) {
    const auto c = static_cast<char>(input.byte());
    if (c != kRepeat || out.empty()) {
      out += c;
    } else {
      out.append(input.byte() * kRepeatUnit, out.back());
    }
  }
  return out;
}

// What one request came to.
struct Event {
  http::Parsed parsed;
  int status;
  http::verb method;
  std::string target;
  int version;
  bool keep_alive;
  size_t end;  // in what was sent
  // The status of a bad request depends on the cuts where it is bad twice: a line may be too long as
  // well as wrong.
  bool operator==(const Event& other) const {
    return parsed == other.parsed && method == other.method && target == other.target &&
           version == other.version && keep_alive == other.keep_alive && end == other.end;
  }
};

void require_sensible(const http::Request& request) {
  const std::string_view path = request.path();
  require(path.find('?') == std::string_view::npos, "a path has no query", request.target);
  require(path == "/" || lies_in(path, request.target), "a path is part of its target", path);
  require(request.version == 10 || request.version == 11, "HTTP/1.0 or 1.1");
}

// Sends everything in pieces of next_size() bytes, as a connection would that reads into one buffer.
template <class NextSize>
std::vector<Event> events(std::string_view sent, NextSize&& next_size) {
  http::RequestParser parser;
  std::vector<Event> out;
  size_t begin = 0;  // of what the parser has not used
  size_t end = 0;    // of what has arrived
  while (end < sent.size()) {
    const size_t room = http::kHeaderBytesMax - (end - begin);
    require(room > 0, "the buffer always has room");
    end += std::min({sent.size() - end, room, std::max<size_t>(next_size(), 1)});
    for (;;) {
      const std::string_view input = sent.substr(begin, end - begin);
      size_t used = ~size_t{0};
      const http::Parsed parsed = parser.parse(input, &used);
      require(used <= input.size(), "no more is used than there is");
      begin += used;
      if (parsed == http::Parsed::more) break;
      // Whether the client waits depends on what has arrived.
      if (parsed == http::Parsed::expects) continue;
      const http::Request& r = parser.request();
      if (parsed == http::Parsed::rejected) {
        const int status = parser.status();
        require(status >= 400 && (status == 400 || http::reason_of(status) != "Bad Request"),
                "a status that has a reason");
        out.push_back({parsed, status, http::verb::unknown, "", 0, false, 0});
        return out;
      }
      require_sensible(r);
      out.push_back({parsed, 0, r.method, r.target, r.version, r.keep_alive, begin});
    }
  }
  return out;
}

// Requests must be the same in every cut. A bad one may be rejected with its first bad line or with
// its last: Beast waits for the end of a header once it has seen a part of it.
bool same(const std::vector<Event>& a, const std::vector<Event>& b) {
  const size_t both = std::min(a.size(), b.size());
  if (!std::equal(a.begin(), a.begin() + static_cast<long>(both), b.begin())) return false;
  const std::vector<Event>& longer = a.size() > b.size() ? a : b;
  return longer.size() == both ||
         (longer.size() == both + 1 && longer.back().parsed == http::Parsed::rejected);
}

// One response out of what the session wrote; false at the end.
bool take_response(std::string_view& wire, int& status, bool& last, http::verb method) {
  if (wire.empty()) return false;
  const size_t head_end = wire.find("\r\n\r\n");
  require(head_end != std::string_view::npos && wire.starts_with("HTTP/1.1 "), "a response", wire);
  const std::string_view head = wire.substr(0, head_end + 2);
  std::from_chars(head.data() + 9, head.data() + 12, status);
  wire.remove_prefix(head_end + 4);
  last = head.find("\r\nConnection: close\r\n") != std::string_view::npos;
  constexpr std::string_view kLength = "\r\nContent-Length: ";
  const size_t length_at = head.find(kLength);
  if (status == 100) {
    require(length_at == std::string_view::npos, "an interim response has no body", head);
    return true;
  }
  require(length_at != std::string_view::npos, "a length", head);
  size_t length = 0;
  std::from_chars(head.data() + length_at + kLength.size(), head.data() + head.size(), length);
  if (method == http::verb::head) length = 0;
  require(wire.size() >= length, "the body is as long as it says", head);
  wire.remove_prefix(length);
  return true;
}

// The server's side of the connection answers each request once, a bad one last.
void check_session(std::string_view sent, const std::vector<Event>& requests) {
  http::Session session;
  std::string out;
  while (!sent.empty() && !session.closing()) {
    const std::span<char> buffer = session.buffer();
    require(!buffer.empty(), "the session's buffer always has room");
    const size_t n = sent.copy(buffer.data(), buffer.size());
    sent.remove_prefix(n);
    session.feed(n, out, http::pages);
  }
  std::string_view wire = out;
  size_t answered = 0;
  bool closed = false;
  int status = 0;
  for (;;) {
    const bool known = answered < requests.size();
    bool last = false;
    if (!take_response(wire, status, last,
                       known ? requests[answered].method : http::verb::unknown)) {
      break;
    }
    if (status == 100) continue;
    require(known && !closed, "no response that nobody asked for", out);
    const Event& e = requests[answered++];
    require(e.parsed != http::Parsed::rejected || (status == e.status && last),
            "a request that is not accepted gets its status, and nothing follows", out);
    require(last != e.keep_alive, "closed as the client was told", out);
    closed = last;
  }
  require(closed == session.closing(), "closing means told so", out);
  const size_t bad = !requests.empty() && requests.back().parsed == http::Parsed::rejected ? 1 : 0;
  require(session.served() + (answered == requests.size() ? bad : 0) == answered,
          "served counts the answers", out);
  require(closed || answered == requests.size(), "every request is answered", out);
}

void check(Input input) {
  const uint8_t seed = input.byte();
  const std::string sent = expanded(input);
  const std::vector<Event> whole = events(sent, [&] { return sent.size(); });
  std::minstd_rand random(seed + 1u);
  const size_t longest = 1 + size_t{seed} * seed / 16;
  require(same(events(sent, [&] { return 1 + random() % longest; }), whole), "cuts change nothing",
          sent);
  // A byte at a time takes quadratic time in a header, so not for the longest.
  constexpr size_t kBytewiseMax = 4096;
  if (sent.size() <= kBytewiseMax) {
    require(same(events(sent, [] { return size_t{1}; }), whole), "nor does a byte at a time", sent);
  }
  // The session reads whole buffers, as this does.
  check_session(sent, events(sent, [] { return http::kHeaderBytesMax; }));
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gort::fuzz::check({data, size});
  return 0;
}
