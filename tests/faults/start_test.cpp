// What the start of a runtime needs and may be refused: a clear error, nothing left behind, and the next
// start works. What is learned once in a process is looked at in a process of its own.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <thread>

#include "fault_test.hpp"
#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/stats.hpp"
#include "os/os.hpp"

namespace gort::faults {
namespace {

class Start : public FaultTest {
 protected:
  // Starts a runtime under the rule; what it threw.
  std::system_error refusal(const Rule& rule) {
    Armed armed({rule});
    try {
      run([] { ADD_FAILURE() << "the main fiber runs"; });
    } catch (const std::system_error& e) {
      armed.disarm();
      EXPECT_GT(armed.fired(), 0U);
      expect_nothing_left("a refused start");
      run([] {});
      return e;
    }
    ADD_FAILURE() << "nothing was thrown";
    return std::system_error(std::error_code());
  }
};

TEST_F(Start, WithoutAThread) {
  const auto e = refusal({Call::thread, always(), fail(ENOMEM)});
  EXPECT_EQ(e.code(), std::errc::not_enough_memory);
  EXPECT_NE(std::string(e.what()).find("gort: no thread"), std::string::npos) << e.what();
  EXPECT_NE(std::string(e.what()).find("ulimit -u"), std::string::npos) << e.what();
}

// EAGAIN is asked again, 20 times in 0.2 s.
TEST_F(Start, WithoutAThreadForLong) {
  const auto e = refusal({Call::thread, always(), fail(EAGAIN)});
  EXPECT_EQ(e.code(), std::errc::resource_unavailable_try_again);
}

TEST_F(Start, WithAThreadAtTheSecondAttempt) {
  Armed armed({{Call::thread, nth(1), fail(EAGAIN)}});
  EXPECT_EQ(run([] { return 7; }), 7);
  EXPECT_EQ(armed.fired(), 1U);
}

// With preemption there are two threads that are no Ms: what the first one has is given back.
TEST_F(Start, WithoutTheSecondThread) {
  Armed armed({{Call::thread, from(2), fail(ENOMEM)}});
  const options interrupted{.slice = std::chrono::milliseconds(10)};
  EXPECT_THROW(run(interrupted, [] { ADD_FAILURE() << "the main fiber runs"; }), std::system_error);
  armed.disarm();
  expect_nothing_left("a refused start");
  EXPECT_EQ(run(interrupted, [] { return 7; }), 7);
  expect_nothing_left("a start behind it");
}

// A thread that gets no timer is not interrupted; everything else goes on.
TEST_F(Start, WithoutTimers) {
  Armed armed({{Call::timer_create, always(), fail(EAGAIN)}});
  EXPECT_EQ(run(options{.procs = 2, .slice = std::chrono::milliseconds(10)},
                [] { return spawn([] { return 7; }).get(); }),
            7);
  EXPECT_GT(armed.fired(), 0U);
  armed.disarm();
  expect_nothing_left("runs without timers");
}

TEST_F(Start, WithoutAPoller) {
  EXPECT_EQ(refusal({Call::epoll_create, always(), fail(EMFILE)}).code(),
            std::errc::too_many_files_open);
  EXPECT_EQ(refusal({Call::eventfd, always(), fail(ENFILE)}).code(),
            std::errc::too_many_files_open_in_system);
  const auto e = refusal({Call::epoll_add, always(), fail(ENOSPC)});
  EXPECT_EQ(e.code(), std::errc::no_space_on_device);
  EXPECT_NE(std::string(e.what()).find("gort: the poller"), std::string::npos) << e.what();
}

// A sandbox that knows no eventfd: a pipe wakes the poller.
TEST_F(Start, WithoutAnEventfd) {
  for (const int error : {ENOSYS, EPERM, EACCES}) {
    Armed armed({{Call::eventfd, always(), fail(error)}});
    runtime rt(options{.procs = 2});
    EXPECT_EQ(armed.fired(), 1U);
    rt.run([] {
      const chan<int> from_thread;
      std::thread foreign([from_thread] {
        for (int i = 0; i < 200; ++i) {
          from_thread.send(i);
          std::this_thread::yield();
        }
      });
      for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(from_thread.recv(), i);
        sleep_for(std::chrono::microseconds(10));
      }
      blocking([&] { foreign.join(); });
    });
  }
  expect_nothing_left("runs without an eventfd");
}

TEST_F(Start, WithoutPs) {
  const auto e = refusal({Call::map, always(), fail(ENOMEM)});
  EXPECT_EQ(e.code(), std::errc::not_enough_memory);
  EXPECT_NE(std::string(e.what()).find("scheduler"), std::string::npos) << e.what();
}

TEST_F(Start, WithoutAStack) {
  const auto e = refusal({Call::map, from(2), fail(ENOMEM)});  // the first is for the Ps
  EXPECT_EQ(e.code(), std::errc::not_enough_memory);
  EXPECT_NE(std::string(e.what()).find("stack"), std::string::npos) << e.what();
}

TEST_F(Start, OfAnEmbeddedRuntime) {
  {
    Armed armed({{Call::epoll_create, always(), fail(EMFILE)}});
    EXPECT_THROW(runtime{}, std::system_error);
  }
  expect_nothing_left("a refused runtime");
  runtime rt;
  EXPECT_EQ(rt.run([] { return 1; }), 1);
}

// ---- In a process of its own

class StartDeathTest : public testing::Test {
 protected:
  StartDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  // Runs the workload, which must not notice anything; 0, or 1 with the reason on stderr.
  static int workload_status() {
    Outcome out;
    run_workload(out);
    std::fprintf(stderr, "%s", out.text().c_str());
    return out.refusals.empty() && out.mistakes.empty() ? 0 : 1;
  }
  // Ends the child; a rule that has not fired is a failure.
  [[noreturn]] static void end(const Armed& armed, int status) {
    std::fprintf(stderr, "%s", armed.report().c_str());
    std::_Exit(armed.fired() == 0 ? 3 : status);
  }
};

TEST_F(StartDeathTest, WithoutMembarrierFencesAreReal) {
  for (const int error : {EPERM, ENOSYS, EINVAL}) {
    EXPECT_EXIT(
        {
          Armed armed({{Call::membarrier, always(), fail(error)}});
          const int status = workload_status();
          end(armed, os::light_fence_is_real.load(std::memory_order_relaxed) ? status : 4);
        },
        testing::ExitedWithCode(0), "");
  }
}

TEST_F(StartDeathTest, WithoutProcAndSys) {
  EXPECT_EXIT(
      {
        Armed armed(
            {{Call::open, always(), fail(ENOENT)}, {Call::affinity, always(), fail(EPERM)}});
        const int status = workload_status();
        const bool known =
            os::system_info().page_bytes == static_cast<size_t>(sysconf(_SC_PAGESIZE)) &&
            os::system_info().cpus == 1;
        end(armed, known ? status : 4);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(StartDeathTest, WithoutAPageSizeItIsTheUsualOne) {
  EXPECT_EXIT(
      {
        Armed armed({{Call::open, nth(1), fail(EACCES)}, {Call::map, nth(1), fail(ENOMEM)}});
        os::osinit();
        end(armed, armed.fired(1) == 1 && os::system_info().page_bytes == 4096 ? 0 : 4);
      },
      testing::ExitedWithCode(0), "");
}

// AT_RANDOM, then getrandom, then /dev/urandom, then a message.
TEST_F(StartDeathTest, WithoutRandomData) {
  EXPECT_EXIT(
      {
        Armed armed({{Call::open, nth(1), fail(ENOENT)}, {Call::random, always(), fail(EAGAIN)}});
        const int status = workload_status();
        end(armed, armed.fired(1) > 0 ? status : 4);
      },
      testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        Armed armed({{Call::open, always(), fail(ENOENT)}, {Call::random, always(), fail(EAGAIN)}});
        run([] {});
      },
      testing::KilledBySignal(SIGABRT), "gort: fatal: RN1");
}

TEST_F(StartDeathTest, ShortReadsOfProc) {
  EXPECT_EXIT(
      {
        Armed armed({{Call::pread, always(), shorten(7)}});
        const int status = workload_status();
        end(armed, os::system_info().map_limit > 0 ? status : 4);
      },
      testing::ExitedWithCode(0), "");
}

// The back end with raw clone learns by making threads; what it is refused then is no error.
TEST_F(StartDeathTest, LearningHowToCloneFails) {
  if (test::kSanitizers) GTEST_SKIP() << "sanitizers have the pthread back end only";
  for (uint64_t n = 1; n <= 4; ++n) {
    EXPECT_EXIT(
        {
          Armed armed({{Call::thread, nth(n), fail(EAGAIN)}});
          const int status = workload_status();
          end(armed, status);
        },
        testing::ExitedWithCode(0), "");
  }
}

TEST_F(StartDeathTest, AForcedCloneThatCanNotBeHadIsAnError) {
  EXPECT_EXIT(
      {
        setenv("GORT_THREADS", "clone", 1);
        Armed armed({{Call::thread, always(), fail(ENOMEM)}});
        try {
          run([] {});
        } catch (const std::system_error& e) {
          std::fprintf(stderr, "%s\n", e.what());
          std::_Exit(e.code() == std::errc::not_supported ? 0 : 4);
        }
      },
      testing::ExitedWithCode(0), "gort: GORT_THREADS=clone can not be had here");
}

}  // namespace
}  // namespace gort::faults
