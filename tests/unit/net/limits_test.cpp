// Many connections at once, and no descriptor left.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "net/net_fixture.hpp"
#include "support/sanitized.hpp"

namespace gort::net::testing {
namespace {

class Limits : public NetTest {};
INSTANTIATE_TEST_SUITE_P(Procs, Limits, ::testing::Values(1, 2));

// Raises or lowers RLIMIT_NOFILE for a scope.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t n) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit wanted = before_;
    wanted.rlim_cur = std::min(n, before_.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &wanted);
    now_ = wanted.rlim_cur;
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  [[nodiscard]] rlim_t now() const { return now_; }

 private:
  rlimit before_{};
  rlim_t now_ = 0;
};

void echo(tcp_stream s) {
  char buffer[64];
  while (const size_t n = s.read_some(buffer)) s.write(std::string_view(buffer, n));
}

// 10,000 connections, as many as the limit allows otherwise: all open at once, each used twice.
TEST_P(Limits, ManyConnections) {
  const DescriptorLimit limit(20'100);
  // Under a sanitizer everything takes longer, while a lost wake-up shows as well with fewer.
  const auto wanted = static_cast<size_t>(test::many(test::kSanitizers ? 1'000 : 10'000));
  const size_t count = std::min<size_t>(wanted, (limit.now() - 100) / 2);
  in_fibers([count] {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    auto server = gort::spawn([&] {
      for (;;) gort::go(echo, listener.accept());
    });
    const endpoint to = listener.local_endpoint();
    std::vector<tcp_stream> clients;
    for (size_t i = 0; i < count; ++i) clients.push_back(tcp_stream::connect(to));
    for (int round = 0; round < 2; ++round) {
      for (tcp_stream& c : clients) c.write("ping");
      for (tcp_stream& c : clients) ASSERT_EQ(read_string(c, 4), "ping");
    }
  });
}

// The caller is told, the listener stays usable, and the connection that waited is taken later.
TEST_P(Limits, NoDescriptorLeftOnAccept) {
  in_fibers([] {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    auto warm_up = tcp_stream::connect(listener.local_endpoint());
    (void)listener.accept();
    auto client = tcp_stream::connect(listener.local_endpoint());
    std::error_code errors[3];
    {
      const DescriptorLimit none(3);  // those of the process's beginning are open
      for (std::error_code& ec : errors) EXPECT_FALSE(listener.accept(ec).is_open());
    }
    // Here, since UBSan's look at a virtual call takes a pipe.
    for (const std::error_code& ec : errors) EXPECT_EQ(ec, std::errc::too_many_files_open);
    auto server = listener.accept();
    client.write("x");
    EXPECT_EQ(read_string(server, 1), "x");
  });
}

}  // namespace
}  // namespace gort::net::testing
