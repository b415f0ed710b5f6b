// Descriptors that are no TCP sockets: pipes, terminals, eventfds, other sockets; taking them over and giving them back.
#include <fcntl.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "gort/fd.hpp"
#include "net/net_fixture.hpp"

namespace gort::net::testing {
namespace {

class Descriptor : public NetTest {};
INSTANTIATE_TEST_SUITE_P(Procs, Descriptor, ::testing::Values(1, 2));

bool blocks(int number) {
  return (::fcntl(number, F_GETFL) & O_NONBLOCK) == 0;
}

bool is_open(int number) {
  return ::fcntl(number, F_GETFD) >= 0;
}

// What one read gets; it must come soon.
std::string one_read(fd& from) {
  char buffer[100];
  from.set_read_deadline(in(kLong));
  return {buffer, from.read_some(buffer)};
}

// The error of a read for which nothing comes.
std::error_code how_a_read_ends(fd& from) {
  char b[1];
  std::error_code how;
  from.read_some(b, how);
  return how;
}

std::string all_of(fd& from) {
  std::string all;
  char buffer[100];
  while (const size_t n = from.read_some(buffer)) all.append(buffer, n);
  return all;
}

// ---- Pipes ----------------------------------------------------------------------------------------------

TEST_P(Descriptor, APipeBringsWhatIsWrittenAndItsEnd) {
  in_fibers([] {
    auto [reader, writer] = gort::pipe();
    EXPECT_TRUE(reader.is_open());
    EXPECT_NE(::fcntl(reader.native_handle(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(::fcntl(writer.native_handle(), F_GETFD) & FD_CLOEXEC, 0);
    auto got = gort::spawn([&r = reader] { return all_of(r); });
    std::string sent;
    for (int i = 0; i < 50; ++i) {
      const std::string message = "message " + std::to_string(i);
      EXPECT_EQ(writer.write(message), message.size());
      sent += message;
      if (i % 3 == 0) gort::yield();
    }
    writer.close();
    EXPECT_FALSE(writer.is_open());
    EXPECT_EQ(writer.native_handle(), -1);
    EXPECT_EQ(got.get(), sent);
  });
}

// Far more than a pipe holds: short writes, and waits at both ends.
TEST_P(Descriptor, APipeMovesAllOfALargeBuffer) {
  in_fibers([] {
    constexpr size_t kBytes = size_t{4} << 20;
    std::vector<char> sent(kBytes);
    std::iota(sent.begin(), sent.end(), 0);
    auto [reader, writer] = gort::pipe();
    auto writes = gort::spawn([&w = writer, &sent] {
      EXPECT_EQ(w.write(std::string_view(sent.data(), sent.size())), sent.size());
      w.close();
    });
    std::vector<char> got(kBytes);
    EXPECT_EQ(reader.read(got), kBytes);
    EXPECT_TRUE(got == sent);
    EXPECT_EQ(reader.read(got), 0U);
    writes.get();
  });
}

TEST_P(Descriptor, NobodyReadsAnyMore) {
  in_fibers([] {
    auto [reader, writer] = gort::pipe();
    auto waits = gort::spawn([&w = writer] {
      const std::string block(size_t{1} << 20, 'x');
      std::error_code ec;
      w.write(block, ec);
      return ec;
    });
    let_others_run();
    reader.close();
    EXPECT_EQ(waits.get(), std::errc::broken_pipe);
    try {
      writer.write_some("x");
      ADD_FAILURE() << "nobody reads it";
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::broken_pipe);
    }
  });
}

TEST_P(Descriptor, AWaitEndsByDeadlineStopAndClose) {
  in_fibers([] {
    auto [reader, writer] = gort::pipe();
    char byte[1];
    std::error_code ec;
    reader.set_read_deadline(in(kSoon));
    reader.read_some(byte, ec);
    EXPECT_EQ(ec, std::errc::timed_out);
    reader.set_deadline(time_point::max());

    bool was_stopped = false;
    auto asked = gort::spawn([&, &r = reader] {
      try {
        char b[1];
        r.read_some(b);
      } catch (const stopped&) {
        was_stopped = true;
        throw;
      }
    });
    let_others_run();
    asked.request_stop();
    asked.join();
    EXPECT_TRUE(was_stopped);

    auto waits = gort::spawn([&r = reader] { return how_a_read_ends(r); });
    let_others_run();
    reader.close();
    EXPECT_EQ(waits.get(), std::errc::operation_canceled);
    reader.read_some(byte, ec);
    EXPECT_EQ(ec, std::errc::operation_canceled);

    fd none;
    none.read_some(byte, ec);
    EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  });
}

// One may be free, if sysmon had opened something for a moment; two are needed.
TEST_P(Descriptor, NoDescriptorIsLeftForAPipe) {
  in_fibers([] {
    const int next = ::dup(STDERR_FILENO);
    rlimit before;
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit few{static_cast<rlim_t>(next), before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
    std::error_code ec;
    const auto none = gort::pipe(ec);
    std::string text;
    try {
      (void)gort::pipe();
    } catch (const std::system_error& e) {
      text = e.what();
    }
    ::setrlimit(RLIMIT_NOFILE, &before);
    ::close(next);
    EXPECT_NE(text.find(" " + std::to_string(next) + " descriptors (ulimit -n"), std::string::npos)
        << text;
    EXPECT_EQ(ec, std::errc::too_many_files_open);
    EXPECT_FALSE(none.reader.is_open());
    EXPECT_FALSE(none.writer.is_open());
  });
}

// A child writes into what it takes for an ordinary pipe.
TEST_P(Descriptor, AChildProcessWritesIntoAPipe) {
  in_fibers([] {
    auto [reader, writer] = gort::pipe();
    const int out = writer.release();
    EXPECT_TRUE(blocks(out));
    EXPECT_FALSE(writer.is_open());
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    std::string words[] = {"sh", "-c", "for i in 1 2 3; do echo line $i; done"};
    char* const arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    pid_t child = 0;
    ASSERT_EQ(::posix_spawn(&child, "/bin/sh", &actions, nullptr, arguments, environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out);
    EXPECT_EQ(all_of(reader), "line 1\nline 2\nline 3\n");
    int status = -1;
    EXPECT_EQ(gort::blocking([&] { return ::waitpid(child, &status, 0); }), child);
    EXPECT_EQ(status, 0);
  });
}

// ---- Other descriptors ------------------------------------------------------------------------------------

// A read that gets less than it has asked for says nothing there about what is left (E1). Both have arrived before the reader, who
// waits for the first, goes on.
TEST_P(Descriptor, DatagramsComeOneByOne) {
  in_fibers([] {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    fd reader = fd::adopt(ends[0]);
    fd writer = fd::adopt(ends[1]);
    for (int i = 0; i < 20; ++i) {
      auto reads = gort::spawn([&] {
        EXPECT_EQ(one_read(reader), "first");
        EXPECT_EQ(one_read(reader), "second");
      });
      let_others_run();
      writer.write("first");
      writer.write("second");
      reads.get();
    }
  });
}

TEST_P(Descriptor, ATerminalGivesItsLines) {
  in_fibers([] {
    const int number = ::posix_openpt(O_RDWR | O_NOCTTY);
    ASSERT_GE(number, 0);
    ASSERT_EQ(::grantpt(number), 0);
    ASSERT_EQ(::unlockpt(number), 0);
    char name[100];
    ASSERT_EQ(::ptsname_r(number, name, sizeof name), 0);
    fd keyboard = fd::adopt(number);
    fd terminal = fd::adopt(::open(name, O_RDWR | O_NOCTTY));
    auto reads = gort::spawn([&] {
      EXPECT_EQ(one_read(terminal), "one\n");
      EXPECT_EQ(one_read(terminal), "two\n");
    });
    let_others_run();
    keyboard.write("one\ntwo\n");
    reads.get();
  });
}

TEST_P(Descriptor, AnEventfdCounts) {
  in_fibers([] {
    fd events = fd::adopt(::eventfd(0, EFD_CLOEXEC));
    auto waits = gort::spawn([&] {
      uint64_t n = 0;
      EXPECT_EQ(events.read_some(std::as_writable_bytes(std::span(&n, 1))), sizeof n);
      return n;
    });
    let_others_run();
    const uint64_t three = 3;
    EXPECT_EQ(events.write(std::as_bytes(std::span(&three, 1))), sizeof three);
    EXPECT_EQ(waits.get(), 3U);
  });
}

TEST_P(Descriptor, AStreamIsADescriptorToo) {
  in_fibers([] {
    Pair p = connected_pair();
    fd any = std::move(p.client);
    EXPECT_FALSE(p.client.is_open());
    p.server.write("hello");
    EXPECT_EQ(one_read(any), "hello");
    const int number = any.release();
    EXPECT_TRUE(blocks(number));
    p.client = tcp_stream();
    p.server.write("again");
    char buffer[5];
    EXPECT_EQ(::recv(number, buffer, sizeof buffer, MSG_WAITALL), 5);
    ::close(number);
  });
}

// ---- Taking and giving ------------------------------------------------------------------------------------

class Adopt : public ::testing::Test {
 protected:
  void SetUp() override { descriptors_ = open_descriptors(); }
  void TearDown() override { EXPECT_EQ(open_descriptors(), descriptors_) << "descriptors leaked"; }

 private:
  int descriptors_ = 0;
};

TEST_F(Adopt, WhatCanNotBePolledStaysTheCallers) {
  char name[] = "/tmp/gort-XXXXXX";
  const int file = ::mkstemp(name);
  ASSERT_GE(file, 0);
  ::unlink(name);
  std::error_code ec;
  EXPECT_FALSE(fd::adopt(file, ec).is_open());
  EXPECT_EQ(ec, std::errc::operation_not_permitted);
  EXPECT_TRUE(is_open(file));
  EXPECT_TRUE(blocks(file));
  ::close(file);
  EXPECT_FALSE(fd::adopt(-1, ec).is_open());
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  EXPECT_THROW((void)fd::adopt(-1), std::system_error);
}

TEST_F(Adopt, ReleaseGivesItBackAsItWas) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  fd reader = fd::adopt(ends[0]);
  fd writer = fd::adopt(ends[1]);
  EXPECT_FALSE(blocks(ends[0]));
  EXPECT_EQ(writer.write("x"), 1U);
  EXPECT_EQ(reader.release(), ends[0]);
  EXPECT_EQ(writer.release(), ends[1]);
  EXPECT_TRUE(blocks(ends[0]));
  EXPECT_FALSE(blocks(ends[1]));
  std::error_code ec;
  EXPECT_EQ(reader.release(ec), -1);
  EXPECT_EQ(ec, std::errc::operation_canceled);
  reader.close();
  reader = fd();
  writer = fd();
  char byte = 0;
  EXPECT_EQ(::read(ends[0], &byte, 1), 1) << "neither is closed";
  EXPECT_EQ(::write(ends[1], &byte, 1), 1);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(reader.release(ec), -1);
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  EXPECT_THROW((void)reader.release(), std::system_error);
}

TEST_P(Descriptor, ReleaseWakesWhoWaits) {
  in_fibers([] {
    auto [reader, writer] = gort::pipe();
    auto waits = gort::spawn([&r = reader] { return how_a_read_ends(r); });
    let_others_run();
    const int number = reader.release();
    EXPECT_EQ(waits.get(), std::errc::operation_canceled);
    writer.write("x");
    // The same description may be taken over again, and is watched anew.
    fd again = fd::adopt(number);
    EXPECT_EQ(one_read(again), "x");
    auto reads = gort::spawn([&] { return one_read(again); });
    let_others_run();
    writer.write("y");
    EXPECT_EQ(reads.get(), "y");
  });
}

// FD4: whoever the release has woken may destroy the handle before it returns.
TEST_P(Descriptor, WhomAReleaseWakesDestroysTheHandle) {
  in_fibers([] {
    for (int i = 0; i < 100; ++i) {
      auto [reader, writer] = gort::pipe();
      auto handle = std::make_unique<fd>(std::move(reader));
      fd& shared = *handle;
      auto waits = gort::spawn([&] {
        const std::error_code how = how_a_read_ends(shared);
        handle.reset();
        return how;
      });
      let_others_run();
      const int number = shared.release();
      EXPECT_EQ(waits.get(), std::errc::operation_canceled);
      EXPECT_TRUE(blocks(number));
      ::close(number);
    }
  });
}

// A thread that reads from it, and is in poll(2) by now.
class ReadingThread {
 public:
  explicit ReadingThread(fd& from)
      : thread_([this, &from] {
          id_ = gettid();
          how_ = how_a_read_ends(from);
        }) {
    while (id_ == 0 || !sleeps(id_)) std::this_thread::yield();
  }
  ~ReadingThread() {
    thread_.join();
    EXPECT_EQ(how_, std::errc::operation_canceled);
  }
  ReadingThread(const ReadingThread&) = delete;
  ReadingThread& operator=(const ReadingThread&) = delete;

 private:
  std::atomic<pid_t> id_{0};
  std::error_code how_;
  std::thread thread_;
};

// Of a socket, which a shutdown would end for others, too.
TEST_F(Adopt, NoEndShutsASocketDown) {
  for (const bool released : {true, false}) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const int another = ::dup(ends[0]);  // a child's, say
    fd one = fd::adopt(ends[0]);
    {
      const ReadingThread thread(one);
      if (released) {
        EXPECT_EQ(::close(one.release()), 0);
      } else {
        one.close();
      }
    }
    char byte = 0;
    EXPECT_EQ(::send(ends[1], "x", 1, MSG_NOSIGNAL), 1);
    EXPECT_EQ(::recv(another, &byte, 1, 0), 1);
    ::close(another);
    ::close(ends[1]);
  }
}

// Nothing tells a thread in poll(2) that a pipe is to be closed: it looks now and then.
TEST_F(Adopt, AThreadThatWaitsHearsOfAClose) {
  auto [reader, writer] = gort::pipe();
  const ReadingThread thread(reader);
  reader.close();
}

}  // namespace
}  // namespace gort::net::testing
