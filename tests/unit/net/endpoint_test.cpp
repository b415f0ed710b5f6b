// endpoint and resolve(): addresses from and to text, names, errors.
#include <gtest/gtest.h>
#include <netdb.h>

#include "gort/net.hpp"

namespace gort::net {
namespace {

TEST(Endpoint, IsTextAndBack) {
  const endpoint v4("127.0.0.1", 80);
  EXPECT_EQ(v4.to_string(), "127.0.0.1:80");
  EXPECT_FALSE(v4.is_v6());
  const endpoint v6("::1", 65535);
  EXPECT_EQ(v6.to_string(), "[::1]:65535");
  EXPECT_EQ(v6.address(), "::1");
  EXPECT_TRUE(v6.is_v6());
  EXPECT_EQ(endpoint("fe80::1%7", 1).address(), "fe80::1%7");
}

TEST(Endpoint, IsAValue) {
  EXPECT_EQ(endpoint("10.0.0.1", 1), endpoint("10.0.0.1", 1));
  EXPECT_NE(endpoint("10.0.0.1", 1), endpoint("10.0.0.1", 2));
  EXPECT_NE(endpoint("10.0.0.1", 1), endpoint("10.0.0.2", 1));
  EXPECT_NE(endpoint("0.0.0.0", 0), endpoint("::", 0));
  EXPECT_EQ(endpoint(), endpoint("0.0.0.0", 0));
}

TEST(Endpoint, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "localhost", "1.2.3", "1.2.3.4.5", "::1%", "1.2.3.4 ", ":::"}) {
    EXPECT_THROW(endpoint(text, 1), std::system_error) << text;
    std::error_code ec;
    EXPECT_EQ(endpoint(text, 1, ec), endpoint()) << text;
    EXPECT_EQ(ec, std::errc::invalid_argument) << text;
  }
  EXPECT_THROW(endpoint(std::string_view(), 1), std::system_error);
  EXPECT_THROW(endpoint(std::string(1000, '1'), 1), std::system_error);
  EXPECT_THROW(endpoint(std::string_view("1.2.3.4\0x", 9), 1), std::system_error);
  EXPECT_THROW(endpoint(std::string_view("::1%1\0x", 7), 1), std::system_error);
}

TEST(Resolve, NumbersNeedNoServer) {
  EXPECT_EQ(resolve("127.0.0.1", "80"), std::vector{endpoint("127.0.0.1", 80)});
  EXPECT_EQ(resolve("::1", "1"), std::vector{endpoint("::1", 1)});
  EXPECT_EQ(resolve("", "7"), (std::vector{endpoint("::", 7), endpoint("0.0.0.0", 7)}));
}

TEST(Resolve, UnknownNamesAreErrorsOfTheResolver) {
  std::error_code ec;
  EXPECT_TRUE(resolve("127.0.0.1", "no-such-service", ec).empty());
  EXPECT_EQ(ec.category(), resolve_category());
  EXPECT_FALSE(ec.message().empty());
  EXPECT_THROW((void)resolve("127.0.0.1", "no-such-service"), std::system_error);
}

// getaddrinfo takes a number modulo 65,536, and texts up to their first zero.
TEST(Resolve, MalformedTextReachesNoResolver) {
  using namespace std::string_view_literals;
  for (const std::string_view service :
       {"65536"sv, "65616"sv, "-1"sv, "+80"sv, " 80"sv, "80 "sv, "http\0x"sv, "\0"sv}) {
    std::error_code ec;
    EXPECT_TRUE(resolve("127.0.0.1", service, ec).empty()) << service;
    EXPECT_EQ(ec, std::error_code(EAI_SERVICE, resolve_category())) << service;
    EXPECT_TRUE(resolve("", service, ec).empty()) << service;
  }
  std::error_code ec;
  EXPECT_TRUE(resolve("localhost\0x"sv, "80", ec).empty());
  EXPECT_EQ(ec, std::error_code(EAI_NONAME, resolve_category()));
}

}  // namespace
}  // namespace gort::net
