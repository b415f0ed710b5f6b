// thread: what newosproc(), minit() and mdestroy() promise, for both back ends; and the choice.
#include <grp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "os/linux/glibc_thread_layout.hpp"
#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"
#include "unit/os/thread_fixture.hpp"

namespace gort::os {
namespace {

constexpr uint64_t bit(int signal) {
  return uint64_t{1} << (signal - 1);
}

uint64_t current_mask() {
  uint64_t mask = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, sizeof mask);
  return mask;
}

class Thread : public BothBackends {};
INSTANTIATE_TEST_SUITE_P(Os, Thread, testing::Values(ThreadBackend::pthread, ThreadBackend::clone),
                         backend_name);

TEST_P(Thread, RunsStartWithItsArgumentOnAThreadOfItsOwn) {
  struct Seen {
    mOS os;
    int tid = 0;
  } seen;
  const auto start = [](void* arg) {
    Seen& s = *static_cast<Seen*>(arg);
    minit(s.os);
    s.tid = gettid();
    EXPECT_EQ(s.os.tid.load(std::memory_order_relaxed), s.tid);
  };
  ASSERT_EQ(newosproc_on(GetParam(), seen.os, start, &seen, 0), 0);
  mdestroy(seen.os);
  EXPECT_GT(seen.tid, 0);
  EXPECT_NE(seen.tid, gettid());
  EXPECT_EQ(seen.os.tid.load(std::memory_order_relaxed), 0) << "mdestroy forgets the thread";
  mdestroy(seen.os);  // nothing is left to release
}

TEST_P(Thread, SignalsAreBlockedUntilMinitAndThenAsTheCreatorHadThem) {
  struct Seen {
    mOS os;
    uint64_t before = 0, after = 0;
  } seen;
  const uint64_t old = sigprocmask(bit(SIGUSR2));  // a mask that can be told from others
  const int error = newosproc_on(
      GetParam(), seen.os,
      [](void* arg) {
        Seen& s = *static_cast<Seen*>(arg);
        s.before = current_mask();
        minit(s.os);
        s.after = current_mask();
      },
      &seen, 0);
  EXPECT_EQ(current_mask(), bit(SIGUSR2));
  sigprocmask(old);
  ASSERT_EQ(error, 0);
  mdestroy(seen.os);
  // The kernel never lets SIGKILL and SIGSTOP be blocked.
  EXPECT_EQ(seen.before, kAllButLibcSignals & ~(bit(SIGKILL) | bit(SIGSTOP) | bit(SIGSYS)));
  EXPECT_EQ(seen.after, bit(SIGUSR2));
}

// A thread of ours blocks all that it may, and Ms that it makes have the mask of who has made it.
TEST_P(Thread, AHouseThreadHandsItsCreatorsMaskOn) {
  struct Seen {
    ThreadBackend backend;
    mOS house, made;
    uint64_t house_mask = 0, made_mask = 0;
  } seen{.backend = GetParam(), .house = {}, .made = {}};
  const uint64_t old = sigprocmask(bit(SIGUSR2));
  const int error = newosproc0(
      seen.house, 0,
      [](void* arg) {
        Seen& s = *static_cast<Seen*>(arg);
        minitHouse(s.house);
        s.house_mask = current_mask();
        const auto start = [](void* of) {
          minit(static_cast<Seen*>(of)->made);
          static_cast<Seen*>(of)->made_mask = current_mask();
        };
        EXPECT_EQ(newosproc_on(s.backend, s.made, start, &s, 0), 0);
        mdestroy(s.made);
      },
      &seen);
  sigprocmask(old);
  ASSERT_EQ(error, 0);
  mdestroy(seen.house);
  EXPECT_EQ(seen.house_mask, kAllButLibcSignals & ~kFaultSignals & ~(bit(SIGKILL) | bit(SIGSTOP)));
  EXPECT_EQ(seen.made_mask, bit(SIGUSR2));
}

TEST_P(Thread, TimersAreNotRounded) {
  std::atomic<int> slack_ns{0};
  Threads threads(GetParam());
  ASSERT_EQ(threads.start([&] { slack_ns = prctl(PR_GET_TIMERSLACK); }), 0);
  threads.join();
  EXPECT_EQ(slack_ns, 1);
}

// A write(2) tells what is mapped without a fault: EFAULT for a page that can not be read.
bool readable(const char* at) {
  int fds[2] = {-1, -1};
  if (::pipe(fds) != 0) return false;
  const bool ok = raw_syscall(SYS_write, fds[1], at, 1) == 1;
  ::close(fds[0]);
  ::close(fds[1]);
  return ok;
}

struct StackBounds {
  char* low = nullptr;
  size_t bytes = 0;
};

StackBounds own_stack() {
  pthread_attr_t attr;
  StackBounds bounds;
  void* low = nullptr;
  EXPECT_EQ(pthread_getattr_np(pthread_self(), &attr), 0);
  EXPECT_EQ(pthread_attr_getstack(&attr, &low, &bounds.bytes), 0);
  pthread_attr_destroy(&attr);
  bounds.low = static_cast<char*>(low);
  return bounds;
}

TEST_P(Thread, AGuardPageLiesUnderTheStack) {
  Threads threads(GetParam());
  ASSERT_EQ(threads.start([] {
    const StackBounds stack = own_stack();
    EXPECT_TRUE(readable(stack.low));
    EXPECT_FALSE(readable(stack.low - 1));
    EXPECT_FALSE(readable(stack.low - 4096));
  }),
            0);
}

[[gnu::noinline]] void use_stack(size_t bytes) {
  auto* block = static_cast<volatile char*>(__builtin_alloca(bytes));
  for (size_t i = 0; i < bytes; i += 1024) block[i] = 1;
}

TEST_P(Thread, TheStackIsAsLargeAsAskedFor) {
  for (const size_t bytes : {kThreadStackBytes, size_t{1} << 20, size_t{64} << 10}) {
    Threads threads(GetParam());
    ASSERT_EQ(threads.start(
                  [bytes] {
                    EXPECT_GE(own_stack().bytes, bytes);
                    if (!kSanitized) use_stack(bytes - (size_t{8} << 10));
                  },
                  bytes),
              0);
  }
}

TEST_P(Thread, MayBeDestroyedBeforeItsCreatorHasReturned) {
  constexpr int kRounds = 300;
  struct Round {
    mOS os;
    std::atomic<bool> started{false};
  };
  std::vector<std::unique_ptr<Round>> rounds;
  for (int i = 0; i < kRounds; ++i) rounds.push_back(std::make_unique<Round>());
  std::thread reaper([&] {
    for (auto& round : rounds) {
      while (!round->started.load(std::memory_order_acquire)) osyield();
      mdestroy(round->os);
      round.reset();  // TH2: the creator must not touch it any more
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    Round* round = rounds[i].get();
    const auto start = [](void* arg) {
      static_cast<Round*>(arg)->started.store(true, std::memory_order_release);
    };
    ASSERT_EQ(newosproc_on(GetParam(), round->os, start, round, 0), 0);
  }
  reaper.join();
}

TEST_P(Thread, ManyThreadsAtATime) {
  constexpr int kMany = 100;
  Threads threads(GetParam());
  std::latch all(kMany + 1);
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(threads.start([&] { all.arrive_and_wait(); }), 0);
  EXPECT_GE(count_threads(), 1 + kMany);
  all.arrive_and_wait();
}

// ---- Failure

struct FakeAttempts {
  int calls = 0;
  int succeed_at = 0;
  int error = -EAGAIN;
  static int attempt(void* arg) noexcept {
    auto& f = *static_cast<FakeAttempts*>(arg);
    return ++f.calls == f.succeed_at ? 0 : f.error;
  }
};
std::vector<int64_t> pauses;
void note_pause(int64_t ns) {
  pauses.push_back(ns);
}

TEST(ThreadRetry, PausesGrowUntilItSucceeds) {
  pauses.clear();
  FakeAttempts fake{.succeed_at = 4};
  EXPECT_EQ(retry_on_eagain(FakeAttempts::attempt, &fake, note_pause), 0);
  EXPECT_EQ(pauses, (std::vector<int64_t>{1'000'000, 2'000'000, 3'000'000}));
}

TEST(ThreadRetry, EndsAfterLessThanHalfASecond) {
  pauses.clear();
  FakeAttempts fake;
  EXPECT_EQ(retry_on_eagain(FakeAttempts::attempt, &fake, note_pause), -EAGAIN);
  int64_t sum = 0;
  for (const int64_t ns : pauses) sum += ns;
  EXPECT_EQ(fake.calls, kAttempts);
  EXPECT_EQ(sum, 190'000'000);
}

TEST(ThreadRetry, AnotherErrorIsFinal) {
  pauses.clear();
  FakeAttempts fake{.error = -ENOMEM};
  EXPECT_EQ(retry_on_eagain(FakeAttempts::attempt, &fake, note_pause), -ENOMEM);
  EXPECT_EQ(fake.calls, 1);
  EXPECT_TRUE(pauses.empty());
}

// The limit on threads binds only who is not root, and counts all threads of that user.
bool forbid_threads() {
  constexpr unsigned kNobody = 65534;
  if (getuid() == 0 && (setgroups(0, nullptr) != 0 || setresuid(kNobody, kNobody, kNobody) != 0)) {
    return false;
  }
  rlimit limit{};
  getrlimit(RLIMIT_NPROC, &limit);
  limit.rlim_cur = 0;
  return setrlimit(RLIMIT_NPROC, &limit) == 0;
}

bool allow_threads() {
  rlimit limit{};
  getrlimit(RLIMIT_NPROC, &limit);
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NPROC, &limit) == 0;
}

TEST_P(Thread, EagainIsReportedLeavesNothingAndPasses) {
  in_child([backend = GetParam()] {
    mOS os;
    const auto start = [](void* arg) { minit(*static_cast<mOS*>(arg)); };
    if (newosproc_on(backend, os, start, &os, 0) != 0) return false;  // warms every cache
    destroy(os);
    const int threads = count_threads();
    const uint64_t mask = current_mask();
    if (!forbid_threads()) return false;
    const int64_t begin_ns = nanotime();
    if (newosproc_on(backend, os, start, &os, 0) != -EAGAIN) return false;
    if (nanotime() - begin_ns < 190'000'000) return false;
    if (count_threads() != threads || current_mask() != mask || os.mapping != nullptr) return false;
    mdestroy(os);  // TH3: nothing to wait for
    if (!allow_threads()) return false;
    if (newosproc_on(backend, os, start, &os, 0) != 0) return false;
    mdestroy(os);
    return true;
  });
}

TEST(Thread0, IsAPthreadAndReportsEagain) {
  mOS os;
  const auto start = [](void* arg) { minit(*static_cast<mOS*>(arg)); };
  ASSERT_EQ(newosproc0(os, size_t{64} << 10, start, &os), 0);
  EXPECT_EQ(os.backend, ThreadBackend::pthread);
  mdestroy(os);
  in_child([start] {
    mOS none;
    return forbid_threads() && newosproc0(none, 0, start, &none) == -EAGAIN &&
           none.backend == ThreadBackend::none;
  });
}

TEST(ThreadBorrowed, MinitAndUnminitLeaveItAsItWas) {
  std::thread borrowed([] {
    const int slack_ns = prctl(PR_GET_TIMERSLACK);
    const uint64_t mask = sigprocmask(bit(SIGUSR2));
    mOS os;
    minit(os);
    EXPECT_EQ(os.tid.load(std::memory_order_relaxed), gettid());
    EXPECT_EQ(current_mask(), bit(SIGUSR2)) << "a borrowed thread keeps its mask";
    unminit(os);
    EXPECT_EQ(os.tid.load(std::memory_order_relaxed), 0);
    EXPECT_EQ(prctl(PR_GET_TIMERSLACK), slack_ns);
    mdestroy(os);  // not ours to wait for
    sigprocmask(mask);
  });
  borrowed.join();
}

// ---- The choice

TEST(ThreadChoice, NewosprocChoosesByItself) {
  in_child([] {
    setenv("GORT_THREADS", "pthread", 1);
    if (thread_backend() != ThreadBackend::none) return false;
    mOS os;
    const auto start = [](void* arg) { minit(*static_cast<mOS*>(arg)); };
    if (newosproc(os, start, &os) != 0) return false;
    mdestroy(os);
    return thread_backend() == ThreadBackend::pthread &&
           std::string(thread_backend_reason()) == "pthread: forced by GORT_THREADS";
  });
}

TEST(ThreadChoice, WithoutAForceTheSelfCheckDecides) {
  in_child([] {
    const std::string obstacle = backend_obstacle(ThreadBackend::clone);
    std::string error;
    if (!choose_thread_backend("", &error)) return false;
    const std::string reason = thread_backend_reason();
    if (obstacle.empty()) {
      return thread_backend() == ThreadBackend::clone &&
             reason == "clone: the self-check has passed";
    }
    return thread_backend() == ThreadBackend::pthread &&
           reason == "pthread: clone not used, " + obstacle;
  });
}

TEST(ThreadChoice, IsMadeOnce) {
  in_child([] {
    std::string error;
    return choose_thread_backend("pthread", &error) && choose_thread_backend("", &error) &&
           choose_thread_backend("pthread", &error) && !choose_thread_backend("clone", &error) &&
           error == "GORT_THREADS=clone comes too late: threads are made with pthread already";
  });
}

// TC1.
TEST(ThreadChoice, ManyThreadsMayAskForItAtOnce) {
  in_child([] {
    std::atomic<int> made{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        mOS os;
        const auto start = [](void* arg) { minit(*static_cast<mOS*>(arg)); };
        if (newosproc(os, start, &os) == 0) ++made;
        mdestroy(os);
      });
    }
    for (std::thread& t : threads) t.join();
    return made == kThreads && thread_backend() != ThreadBackend::none;
  });
}

// TC2.
TEST(ThreadChoice, ARefusedForceIsAnErrorAndNoSilentFallback) {
  in_child([] {
    setenv("LD_PRELOAD", "/usr/libexec/valgrind/vgpreload_core-amd64-linux.so", 1);
    setenv("GORT_THREADS", "clone", 1);
    std::string error;
    if (choose_thread_backend("clone", &error)) return false;
    if (!error.starts_with("GORT_THREADS=clone can not be had here: ")) return false;
    if (error.find(kSanitized ? "sanitizer" : "valgrind") == std::string::npos) return false;
    if (thread_backend() != ThreadBackend::none || thread_backend_reason() != error) return false;
    mOS os;
    if (newosproc(
            os, [](void*) {}, nullptr) != -ENOTSUP)
      return false;
    return choose_thread_backend("pthread", &error);  // who changes his mind may
  });
}

TEST(ThreadChoice, AnUnknownNameIsRefused) {
  in_child([] {
    std::string error;
    return !choose_thread_backend("fork", &error) &&
           error == "GORT_THREADS=fork is unknown: use clone or pthread";
  });
}

TEST(ThreadChoice, EverySurroundingThatForbidsCloneIsNamed) {
  EXPECT_STREQ(clone_obstacle({}), "");
  EXPECT_NE(std::string(clone_obstacle({.sanitized = true})).find("sanitizer"), std::string::npos);
  EXPECT_NE(std::string(clone_obstacle({.valgrind = true})).find("valgrind"), std::string::npos);
  EXPECT_NE(std::string(clone_obstacle({.static_program = true})).find("statically"),
            std::string::npos);
  EXPECT_EQ(thread_surroundings().sanitized, kSanitized);
  EXPECT_FALSE(thread_surroundings().static_program);
}

TEST(ThreadCount, FollowsThreads) {
  std::atomic<int> first{0};
  std::thread([&] { first = gettid(); }).join();  // a sanitizer's own thread starts with it
  await_gone(first);
  const int before = count_threads();
  ASSERT_GE(before, 1);
  Threads threads(ThreadBackend::pthread);
  std::latch done(1);
  threads.start_all([&](int) { done.wait(); });
  EXPECT_EQ(count_threads(), before + kThreads);
  done.count_down();
}

// D3: no thread is missed because another one ends in the meantime.
TEST(ThreadCount, IsNeverTooLow) {
  std::atomic<int> first{0};
  std::thread([&] { first = gettid(); }).join();
  await_gone(first);
  const int before = count_threads();
  std::atomic<bool> over{false};
  std::atomic<int> generation{0};
  std::atomic<int> too_low{0};
  // One at least is always there: the next is made before the last one ends.
  const auto wait_for = [&generation](int g) {
    return [&generation, g] {
      while (generation.load() < g) std::this_thread::yield();
    };
  };
  constexpr int kGenerations = 1000;
  std::thread last(wait_for(1));
  std::thread counter([&] {
    while (!over) too_low += count_threads() < before + 2 ? 1 : 0;
  });
  for (int g = 1; g < kGenerations; ++g) {
    std::thread next(wait_for(g + 1));
    generation = g;
    last.join();
    last = std::move(next);
  }
  over = true;
  counter.join();
  generation = kGenerations;
  last.join();
  EXPECT_EQ(too_low, 0);
}

TEST(ThreadCount, InTheTextOfStat) {
  const std::string head = "42 (a) S 1 42 42 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 ";
  EXPECT_EQ(parse_stat_threads(head + "7 0 12345 0"), 7);
  EXPECT_EQ(
      parse_stat_threads("42 (a) b) 1 2 3) S 1 42 42 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 31 0 "),
      31);
  for (const char* tail : {"", "7", "0 0", "-1 0", "x 0", "99999999999 0"}) {
    EXPECT_EQ(parse_stat_threads(head + tail), -EINVAL) << tail;
  }
  EXPECT_EQ(parse_stat_threads(""), -EINVAL);
  EXPECT_EQ(parse_stat_threads("42 (a) S 1 2"), -EINVAL);
  EXPECT_EQ(parse_stat_threads("42 a S 1 42 42 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 7 0"), -EINVAL);
}

// ---- The self-check, with a wrong idea of glibc

#if GORT_GLIBC_THREADS

class SelfCheck : public testing::Test {
 protected:
  void SetUp() override {
    const std::string obstacle = backend_obstacle(ThreadBackend::clone);
    if (!obstacle.empty()) GTEST_SKIP() << obstacle;
    layout_ = glibc_layout();
    entry_.layout = &layout_;
    stack_ = glibc_stack_take(layout_, kThreadStackBytes);
    ASSERT_NE(stack_.mapping, nullptr);
  }

  std::string probe() {
    const uint64_t old = sigprocmask(kAllButLibcSignals);
    std::string wrong = glibc_probe(layout_, stack_, entry_);
    sigprocmask(old);
    return wrong;
  }

  GlibcLayout layout_;
  GlibcEntry entry_{};
  GlibcStack stack_;
};

TEST_F(SelfCheck, PassesAsItIs) {
  EXPECT_EQ(probe(), "");
  EXPECT_EQ(glibc_check(layout_, stack_, entry_), "");
}

// TL1: the table is not enough.
TEST_F(SelfCheck, AWrongOffsetIsSeen) {
  const struct {
    const char* field;
    size_t GlibcOffsets::*offset;
  } fields[] = {
      {"start_routine", &GlibcOffsets::start_routine},
      {"arg", &GlibcOffsets::arg},
      {"stackblock", &GlibcOffsets::stack},
      {"stackblock_size", &GlibcOffsets::stack_bytes},
      {"sigmask", &GlibcOffsets::signal_mask},
      {"specific", &GlibcOffsets::keys},
      {"robust_head", &GlibcOffsets::robust_head},
      {"robust_prev", &GlibcOffsets::robust_prev},
  };
  const GlibcLayout right = layout_;
  for (const auto& field : fields) {
    layout_ = right;
    layout_.at.*field.offset -= sizeof(void*);
    EXPECT_NE(probe().find(std::string("differs from the table: ") + field.field),
              std::string::npos)
        << field.field;
  }
}

TEST_F(SelfCheck, AWrongLockIsSeen) {
  int no_lock = 0;
  layout_.stack_lock = &no_lock;
  EXPECT_EQ(probe(), "pthread_create does not wait for the list lock");
  EXPECT_EQ(no_lock, 0);
}

TEST_F(SelfCheck, AWrongListIsSeen) {
  GlibcListNode empty{&empty, &empty};
  layout_.stacks_user = &empty;
  layout_.stacks_used = &empty;
  EXPECT_EQ(probe(), "this thread is not on glibc's lists");
}

// TL2: a field that a new thread has, and the table does not, is seen.
TEST_F(SelfCheck, ADifferentDescriptorIsSeen) {
  ASSERT_EQ(probe(), "");
  const auto raw = std::make_unique<GlibcSnapshot>(entry_.snapshot);
  EXPECT_EQ(glibc_unexplained_difference(layout_, stack_, entry_.snapshot, *raw), -1);
  raw->bytes[layout_.at.tid] ^= std::byte{1};
  EXPECT_EQ(glibc_unexplained_difference(layout_, stack_, entry_.snapshot, *raw), -1);
  raw->bytes[layout_.at.user_stack] ^= std::byte{1};
  EXPECT_EQ(glibc_unexplained_difference(layout_, stack_, entry_.snapshot, *raw),
            static_cast<long>(layout_.at.user_stack & ~size_t{7}));
}

TEST(GlibcTable, KnowsOnlyWhatWasTested) {
  size_t bytes = 0;
  EXPECT_NE(glibc_table("2.36", bytes), nullptr);
  EXPECT_EQ(bytes, 2368U);
  EXPECT_EQ(glibc_table("2.35", bytes), nullptr);
  EXPECT_EQ(glibc_table("", bytes), nullptr);
}

#endif  // GORT_GLIBC_THREADS

}  // namespace
}  // namespace gort::os
