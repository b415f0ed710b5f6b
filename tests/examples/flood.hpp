// Flood: peers of a server that send all the time and take all that comes back, so that it hardly ever has to wait for one of them.
#pragma once

#include <sched.h>
#include <sys/resource.h>

#include <system_error>

#include "program.hpp"

namespace example_tests {

// As long as it lives, this thread and what it starts share one processor.
class OneProcessor {
 public:
  OneProcessor() {
    EXPECT_EQ(::sched_getaffinity(0, sizeof before_, &before_), 0);
    int first = 0;
    while (!CPU_ISSET(first, &before_)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    EXPECT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  }
  ~OneProcessor() { ::sched_setaffinity(0, sizeof before_, &before_); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

 private:
  cpu_set_t before_;
};

class Flood {
 public:
  Flood(const Program& server, uint16_t port, std::string text)
      : server_(server), text_(std::move(text)) {
    for (int i = 0; i < kPeers; ++i) peers_.push_back({std::make_unique<Client>(port)});
    // It runs when the peers, on the same processor, have nothing to do: when it has much to read and much room to write.
    std::error_code ec;
    const std::string tasks = "/proc/" + std::to_string(server.pid()) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks, ec)) {
      ::setpriority(PRIO_PROCESS, static_cast<id_t>(std::stoi(task.path().filename())), kNice);
    }
  }

  // Tells the server to end in the middle of it. How many peers are still connected after `limit`.
  size_t peers_left_after(std::chrono::seconds limit) {
    go_on_for(kBefore);
    EXPECT_FALSE(peers_.empty());
    server_.signal(SIGTERM);
    go_on_for(limit);
    const size_t left = peers_.size();
    peers_.clear();
    return left;
  }

 private:
  static constexpr int kPeers = 8;
  static constexpr int kNice = 5;
  static constexpr auto kBefore = std::chrono::seconds(1);

  struct Peer {
    std::unique_ptr<Client> client;
    size_t sent = 0;  // of the text
    bool ended = false;
  };

  void go_on_for(std::chrono::seconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!peers_.empty() && std::chrono::steady_clock::now() < end) go_on();
  }
  void go_on() {
    std::vector<pollfd> fds;
    for (const Peer& peer : peers_) fds.push_back({peer.client->fd(), POLLIN | POLLOUT, 0});
    if (::poll(fds.data(), fds.size(), kPatienceMs) <= 0) return peers_.clear();
    for (size_t i = 0; i < fds.size(); ++i) {
      if ((fds[i].revents & POLLOUT) != 0) send(peers_[i]);
      if ((fds[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) take(peers_[i]);
    }
    std::erase_if(peers_, [](const Peer& peer) { return peer.ended; });
  }
  void send(Peer& peer) {
    const auto rest = std::string_view(text_).substr(peer.sent);
    const ssize_t n =
        ::send(peer.client->fd(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) peer.sent = (peer.sent + static_cast<size_t>(n)) % text_.size();
  }
  void take(Peer& peer) {
    const ssize_t n = ::recv(peer.client->fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    peer.ended = n == 0 || (n < 0 && errno != EAGAIN);
  }

  const Program& server_;
  const std::string text_;
  std::vector<Peer> peers_;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
};

}  // namespace example_tests
