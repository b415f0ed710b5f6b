// The parser and the session that the example server and the plain epoll server share.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "http/session.hpp"

namespace http {
namespace {

constexpr std::string_view kGet = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";

// A connection without a socket: feeds `input` in pieces of `step` bytes and collects what is
// answered.
class Wire {
 public:
  std::string send(std::string_view input, size_t step = kHeaderBytesMax) {
    std::string out;
    while (!input.empty() && !session.closing()) {
      const std::span<char> buffer = session.buffer();
      const size_t n = std::min({input.size(), step, buffer.size()});
      std::memcpy(buffer.data(), input.data(), n);
      input.remove_prefix(n);
      session.feed(n, out, pages);
    }
    return out;
  }
  Session session;
};

int count(std::string_view text, std::string_view what) {
  int n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++n;
  return n;
}

bool starts(const std::string& text, std::string_view status) {
  return text.starts_with("HTTP/1.1 " + std::string(status) + " ");
}

TEST(Http, AnswersAPage) {
  Wire wire;
  const std::string out = wire.send(kGet);
  EXPECT_TRUE(starts(out, "200")) << out;
  EXPECT_NE(out.find("\r\nContent-Length: 13\r\n"), std::string::npos) << out;
  EXPECT_TRUE(out.ends_with("\r\n\r\nHello, World!")) << out;
  EXPECT_FALSE(wire.session.closing());
  EXPECT_TRUE(wire.session.idle());
}

TEST(Http, EveryCutIntoReadsGivesTheSame) {
  const std::string input = "\r\n\r\n" + std::string(kGet) + "\r\n" +
                            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345" +
                            "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "5;x=y\r\nabcde\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: t\r\n\r\n" +
                            std::string(kGet);
  for (size_t step = 1; step <= input.size(); ++step) {
    Wire wire;
    const std::string out = wire.send(input, step);
    EXPECT_EQ(count(out, "HTTP/1.1 200 OK"), 3) << step << out;
    EXPECT_EQ(count(out, "HTTP/1.1 405 "), 1) << step;
    EXPECT_EQ(wire.session.served(), 4U) << step;
    EXPECT_TRUE(wire.session.idle()) << step;
  }
}

TEST(Http, ABodyOfNoChunksMayBeCutAnywhere) {
  const std::string input =
      "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
      std::string(kGet);
  for (size_t step = 1; step <= input.size(); ++step) {
    Wire wire;
    const std::string out = wire.send(input, step);
    EXPECT_EQ(count(out, "HTTP/1.1 405 "), 1) << step;
    EXPECT_EQ(count(out, "HTTP/1.1 200 OK"), 1) << step << out;
  }
}

TEST(Http, PipelinedRequestsAreAnsweredInOrder) {
  Wire wire;
  std::string input;
  for (int i = 0; i < 500; ++i) input += kGet;
  input += "GET /nope HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string out = wire.send(input);
  EXPECT_EQ(count(out, "Hello, World!"), 500);
  EXPECT_TRUE(out.ends_with("404 Not Found") || out.ends_with("Not Found"));
}

TEST(Http, HeadHasTheLengthAndNoBody) {
  Wire wire;
  const std::string out = wire.send("HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(starts(out, "200"));
  EXPECT_NE(out.find("Content-Length: 13"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\n"));
}

TEST(Http, PathsAndTargets) {
  const auto get = [](std::string_view target) {
    Wire wire;
    return wire.send("GET " + std::string(target) + " HTTP/1.1\r\nHost: h\r\n\r\n");
  };
  EXPECT_TRUE(starts(get("/"), "200"));
  EXPECT_TRUE(starts(get("/hello?x=1"), "200"));
  EXPECT_TRUE(starts(get("http://h:80/hello"), "200"));
  EXPECT_TRUE(starts(get("http://h"), "200"));
  EXPECT_TRUE(starts(get("/hello/"), "404"));
  EXPECT_TRUE(starts(get("*"), "404"));
}

TEST(Http, WhoKeepsTheConnection) {
  const auto closes = [](std::string_view request) {
    Wire wire;
    const std::string out = wire.send(request);
    EXPECT_TRUE(starts(out, "200")) << request;
    EXPECT_EQ(wire.session.closing(), out.find("Connection: close") != std::string::npos);
    return wire.session.closing();
  };
  EXPECT_FALSE(closes(kGet));
  EXPECT_TRUE(closes("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
  EXPECT_TRUE(closes("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n"));
  EXPECT_TRUE(closes("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_FALSE(closes("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  Wire wire;
  EXPECT_NE(wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").find("keep-alive"),
            std::string::npos);
}

TEST(Http, NothingIsAnsweredAfterTheLast) {
  Wire wire;
  const std::string out =
      wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + std::string(kGet));
  EXPECT_EQ(count(out, "HTTP/1.1 "), 1);
  Wire soon;
  soon.session.close_soon();
  EXPECT_EQ(count(soon.send(std::string(kGet) + std::string(kGet)), "HTTP/1.1 "), 1);
  EXPECT_TRUE(soon.session.closing());
}

TEST(Http, WhatIsMalformedIsRefusedAndEndsTheConnection) {
  const std::pair<const char*, const char*> cases[] = {
      {"BAD\r\n\r\n", "400"},
      {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03 hello", "400"},  // TLS
      {"GET / HTTP/1.1\r\n\r\n", "400"},                      // no Host
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "400"},
      {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "501"},
      {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n", "417"},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", "413"},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"},
  };
  for (const auto& [request, status] : cases) {
    for (const size_t step : {size_t{1}, kHeaderBytesMax}) {
      Wire wire;
      const std::string out = wire.send(request, step);
      EXPECT_TRUE(starts(out, status)) << request << out;
      EXPECT_EQ(count(out, "HTTP/1.1 "), 1) << request;
      EXPECT_TRUE(wire.session.closing()) << request;
      EXPECT_FALSE(wire.session.buffer().empty()) << "room to drain what still comes";
    }
  }
}

// Cut into pieces, it is an incomplete header for Beast, until the limit.
TEST(Http, BareLineFeedsAreRefused) {
  Wire wire;
  EXPECT_TRUE(starts(wire.send("GET / HTTP/1.1\nHost: h\n\n"), "400"));
}

TEST(Http, HeaderLimitHoldsForEveryCutAndShape) {
  const std::string line = "GET / HTTP/1.1\r\nHost: h\r\n";
  const std::string one_field = line + "X: " + std::string(100 * 1024, 'a') + "\r\n\r\n";
  std::string many_fields = line;
  while (many_fields.size() < 100 * 1024) many_fields += "X: abcdefghijklmnopqrstuvwxyz\r\n";
  const std::string target = "GET /" + std::string(100 * 1024, 'a') + " HTTP/1.1\r\n\r\n";
  for (const std::string& request : {one_field, many_fields, target}) {
    for (const size_t step : {size_t{7}, size_t{1000}, kHeaderBytesMax}) {
      Wire wire;
      const std::string out = wire.send(request, step);
      EXPECT_TRUE(starts(out, "431")) << out;
      EXPECT_TRUE(wire.session.closing());
    }
  }
  Wire fits;
  EXPECT_TRUE(
      starts(fits.send(line + "X: " + std::string(15 * 1024, 'a') + "\r\n\r\n", 100), "200"));
}

TEST(Http, ChunkExtensionsAreLimitedToo) {
  Wire wire;
  const std::string out =
      wire.send("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;" +
                std::string(100 * 1024, 'a'));
  EXPECT_TRUE(starts(out, "400")) << out;
}

TEST(Http, BodiesAreSkipped) {
  Wire wire;
  const std::string body(1024 * 1024, 'b');
  const std::string out = wire.send(
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n" + body + std::string(kGet));
  EXPECT_EQ(count(out, "HTTP/1.1 405 "), 1);
  EXPECT_EQ(count(out, "HTTP/1.1 200 "), 1);
}

TEST(Http, WhoExpectsContinueIsToldOnce) {
  const std::string header =
      "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  Wire wire;
  EXPECT_EQ(wire.send(header), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_FALSE(wire.session.idle());
  EXPECT_EQ(wire.send("a"), "");
  EXPECT_TRUE(starts(wire.send("bc"), "200"));
  Wire eager;
  EXPECT_TRUE(starts(eager.send(header + "abc"), "200")) << "the body is there already";
}

TEST(Http, EmptyLinesBeforeARequestAreIgnored) {
  for (const size_t step : {size_t{2}, kHeaderBytesMax}) {
    Wire wire;
    EXPECT_TRUE(starts(wire.send("\r\n\r\n" + std::string(kGet), step), "200"));
  }
}

TEST(Http, IdleMeansBetweenRequests) {
  Wire wire;
  EXPECT_TRUE(wire.session.idle());
  wire.send(kGet.substr(0, 10));
  EXPECT_FALSE(wire.session.idle());
  wire.send(kGet.substr(10));
  EXPECT_TRUE(wire.session.idle());
  wire.send("G");
  EXPECT_FALSE(wire.session.idle());
}

TEST(Http, DateIsInTheOneFormat) {
  Wire wire;
  const std::string out = wire.send(kGet);
  const size_t at = out.find("\r\nDate: ");
  ASSERT_NE(at, std::string::npos);
  const std::string date = out.substr(at + 8, 29);
  tm parsed{};
  const char* end = ::strptime(date.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parsed);
  ASSERT_NE(end, nullptr) << date;
  EXPECT_EQ(*end, '\0');
  EXPECT_LE(std::abs(::timegm(&parsed) - ::time(nullptr)), 2);
}

}  // namespace
}  // namespace http
