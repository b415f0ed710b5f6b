// The checker on algorithms that are known to be broken, and on their repair: it must tell them apart.
#include <gtest/gtest.h>

#include <array>
#include <deque>

#include "checker/atomic.hpp"

namespace model {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;
constexpr auto seq_cst = std::memory_order_seq_cst;

enum class Version { broken, right };

void expect(Version v, const Options& options, const std::function<void()>& program,
            const char* failure = "") {
  const Result r = explore(options, program);
  EXPECT_EQ(r.failed, v == Version::broken) << r;
  if (v == Version::right) {
    EXPECT_TRUE(r.complete) << r;
    return;
  }
  EXPECT_NE(r.what.find(failure), std::string::npos) << r;
  // What was found is found again from its choices alone.
  Options again = options;
  again.replay = r.replay;
  const Result replayed = explore(again, program);
  EXPECT_TRUE(replayed.failed);
  EXPECT_EQ(replayed.runs, 1U);
  EXPECT_EQ(replayed.trace, r.trace);
}

// ---- Dekker: who has raised his flag and sees the other's down goes in --------------------------------

void dekker(Version v) {
  const auto order = v == Version::right ? seq_cst : release;
  atomic<bool> flag0{false};
  atomic<bool> flag1{false};
  var<int> inside;
  Thread t([&] {
    flag1.store(true, order);
    thread_fence(order);
    if (!flag0.load(relaxed)) inside = 1;
  });
  flag0.store(true, order);
  thread_fence(order);
  if (!flag1.load(relaxed)) inside = 2;
  t.join();
}

TEST(Broken, DekkerWithoutFences) {
  expect(
      Version::broken, {}, [] { dekker(Version::broken); }, "race");
  expect(Version::right, {}, [] { dekker(Version::right); });
}

// ---- Chase and Lev's deque ----------------------------------------------------------------------------
//
// As in Le, Pop, Cohen and Zappa Nardelli, "Correct and Efficient Work-Stealing for Weak Memory Models"
// (PPoPP 2013). The published resize stored the new array with relaxed order, so that a thief could
// read an array that it does not see filled: found by Norris and Demsky (CDSChecker, OOPSLA 2013).

struct Deque {
  struct Array {
    explicit Array(size_t n) : size(n), slots(n) {}
    size_t size;
    std::deque<atomic<int>> slots;
  };

  explicit Deque(std::memory_order publish) : publish_(publish) {
    arrays_.emplace_back(1);
    array_.store(&arrays_.back(), relaxed);
  }

  void push(int v) {
    const int b = bottom_.load(relaxed);
    const int t = top_.load(acquire);
    Array* a = array_.load(relaxed);
    if (b - t > static_cast<int>(a->size) - 1) {
      arrays_.emplace_back(a->size * 2);
      Array* bigger = &arrays_.back();
      for (int i = t; i < b; ++i) slot(bigger, i).store(slot(a, i).load(relaxed), relaxed);
      array_.store(bigger, publish_);
      a = bigger;
    }
    slot(a, b).store(v, relaxed);
    thread_fence(release);
    bottom_.store(b + 1, relaxed);
  }

  int take() {
    const int b = bottom_.load(relaxed) - 1;
    Array* a = array_.load(relaxed);
    bottom_.store(b, relaxed);
    thread_fence(seq_cst);
    int t = top_.load(relaxed);
    if (t > b) {
      bottom_.store(b + 1, relaxed);
      return 0;
    }
    int v = slot(a, b).load(relaxed);
    if (t == b) {
      if (!top_.compare_exchange_strong(t, t + 1, seq_cst, relaxed)) v = 0;
      bottom_.store(b + 1, relaxed);
    }
    return v;
  }

  int steal() {
    int t = top_.load(acquire);
    thread_fence(seq_cst);
    const int b = bottom_.load(acquire);
    if (t >= b) return 0;
    Array* a = array_.load(acquire);
    const int v = slot(a, t).load(relaxed);
    if (!top_.compare_exchange_strong(t, t + 1, seq_cst, relaxed)) return 0;
    check(v != 0, "a stolen item is one that was pushed");
    return v;
  }

 private:
  static atomic<int>& slot(Array* a, int i) { return a->slots[static_cast<size_t>(i) % a->size]; }

  const std::memory_order publish_;
  std::deque<Array> arrays_;
  atomic<int> top_{0};
  atomic<int> bottom_{0};
  atomic<Array*> array_{nullptr};
};

void chase_lev(std::memory_order publish) {
  Deque d(publish);
  std::array<int, 4> times{};
  d.push(1);
  Thread thief([&] { ++times[static_cast<size_t>(d.steal())]; });
  d.push(2);
  ++times[static_cast<size_t>(d.take())];
  ++times[static_cast<size_t>(d.take())];
  thief.join();
  check(times[1] == 1 && times[2] == 1, "each item is taken once");
}

TEST(Broken, ChaseLevPublishesItsArrayRelaxed) {
  expect(
      Version::broken, {}, [] { chase_lev(relaxed); }, "a stolen item");
  expect(Version::right, {}, [] { chase_lev(release); });
}

// ---- Treiber's stack ----------------------------------------------------------------------------------

struct Node {
  atomic<int> next{-1};
};

// A stack of the nodes 0 to 2, by number; the right version counts its changes beside the number.
struct Treiber {
  std::array<Node, 3> nodes;
  atomic<uint32_t> head{kNone};
  const bool counted;
  static constexpr uint32_t kNone = 0xff;
  explicit Treiber(Version v) : counted(v == Version::right) {}

  uint32_t make(uint32_t top, uint32_t old) const {
    return counted ? ((old >> 8) + 1) << 8 | top : top;
  }
  void push(uint32_t n) {
    uint32_t old = head.load(relaxed);
    do {
      nodes[n].next.store(static_cast<int>(old & 0xff), relaxed);
    } while (!head.compare_exchange_strong(old, make(n, old), release, relaxed));
  }
  uint32_t pop() {
    uint32_t old = head.load(acquire);
    for (;;) {
      if ((old & 0xff) == kNone) return kNone;
      const auto next = static_cast<uint32_t>(nodes[old & 0xff].next.load(relaxed)) & 0xff;
      if (head.compare_exchange_strong(old, make(next, old), acq_rel, acquire)) return old & 0xff;
    }
  }
};

void treiber(Version v) {
  Treiber s(v);
  s.push(0);
  s.push(1);
  std::array<int, 2> owners{};
  const auto own = [&](uint32_t n) {
    if (n < 2) ++owners[n];
  };
  Thread t([&] { own(s.pop()); });
  const uint32_t a = s.pop();
  own(s.pop());
  if (a != Treiber::kNone) s.push(a);  // back on top: it looks as if nothing had happened
  t.join();
  for (uint32_t n = s.pop(); n != Treiber::kNone; n = s.pop()) own(n);
  check(owners[0] <= 1 && owners[1] <= 1, "a node has one owner");
}

TEST(Broken, TreibersAba) {
  expect(
      Version::broken, {}, [] { treiber(Version::broken); }, "one owner");
  expect(Version::right, {}, [] { treiber(Version::right); });
}

// ---- A mutex on a futex -------------------------------------------------------------------------------
//
// After Drepper, "Futexes are tricky": 0 free, 1 held, 2 held and somebody may sleep. Who was asleep
// must take it as 2, since others may be asleep still.

struct FutexMutex {
  const Version version;
  atomic<uint32_t> word{0};

  void lock() {
    uint32_t free = 0;
    if (word.compare_exchange_strong(free, 1, acquire, relaxed)) return;
    if (version == Version::right) {
      while (word.exchange(2, acquire) != 0) futex_sleep(word.location(), 2, false);
      return;
    }
    for (;;) {
      uint32_t held = 1;
      if (word.compare_exchange_strong(held, 2, relaxed, relaxed) || held == 2) {
        futex_sleep(word.location(), 2, false);
      }
      free = 0;
      if (word.compare_exchange_strong(free, 1, acquire, relaxed)) return;
    }
  }
  void unlock() {
    if (word.exchange(0, release) == 2) futex_wake(word.location(), 1);
  }
};

void futex_mutex(Version v) {
  FutexMutex m{v};
  var<int> n;
  const auto turn = [&] {
    m.lock();
    n = n + 1;
    m.unlock();
  };
  Thread t(turn);
  Thread u(turn);
  turn();
  t.join();
  u.join();
  check(n == 3, "every turn counts");
}

TEST(Broken, FutexMutexForgetsSleepers) {
  expect(
      Version::broken, {.spurious = 0}, [] { futex_mutex(Version::broken); }, "all threads wait");
  expect(Version::right, {.preemptions = 3, .spurious = 1}, [] { futex_mutex(Version::right); });
}

// ---- Waiting ------------------------------------------------------------------------------------------

TEST(Broken, ALoopThatNobodyEnds) {
  for (const Version v : {Version::broken, Version::right}) {
    expect(
        v, {},
        [v] {
          atomic<int> flag{0};
          Thread t([&] {
            if (v == Version::right) flag.store(1, release);
          });
          while (flag.load(acquire) == 0) pause();
          t.join();
        },
        "nobody makes");
  }
}

TEST(Broken, UseAfterTheEnd) {
  for (const Version v : {Version::broken, Version::right}) {
    expect(
        v, {},
        [v] {
          // Memory that stays, so that only the atomic's life ends.
          alignas(atomic<int>) std::byte memory[sizeof(atomic<int>)];
          auto* x = new (memory) atomic<int>(0);
          Thread t([&] { x->store(1, relaxed); });
          if (v == Version::right) t.join();
          x->~atomic<int>();
          t.join();
        },
        "after its end");
  }
}

// Random runs find what is common, and name the seed.
TEST(Broken, RandomRunsFindARaceToo) {
  const Options options{.random_runs = 10'000, .seed = 7};
  const Result r = explore(options, [] { dekker(Version::broken); });
  EXPECT_TRUE(r.failed);
  Options one = options;
  one.seed = options.seed + r.runs - 1;
  one.random_runs = 1;
  const Result again = explore(one, [] { dekker(Version::broken); });
  EXPECT_TRUE(again.failed);
  EXPECT_EQ(again.trace, r.trace);
  EXPECT_FALSE(explore(options, [] { dekker(Version::right); }).failed);
}

// What goes wrong only if a thread is left out of a hundred steps is found, too.
TEST(Broken, RandomRunsLeaveAThreadOutForLong) {
  const auto slow_second_store = [] {
    atomic<int> first{0};
    atomic<int> second{0};
    atomic<int> work{0};
    Thread t([&] {
      first.store(1, relaxed);
      second.store(1, relaxed);
    });
    while (first.load(relaxed) == 0) pause();
    for (int i = 0; i < 100; ++i) work.store(i, relaxed);
    check(second.fetch_add(0, relaxed) == 1, "the second follows the first soon enough");
  };
  const Result r = explore({.random_runs = 2'000}, slow_second_store);
  EXPECT_TRUE(r.failed);
  EXPECT_TRUE(explore({.random_runs = 1, .seed = r.runs}, slow_second_store).failed)
      << "a seed says what kind of run it is";
}

}  // namespace
}  // namespace model
