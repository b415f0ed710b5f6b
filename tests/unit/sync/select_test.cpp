// select: the contract of api.md, from fibers and from foreign threads.
#include "gort/select.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class Select : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Select);

// Lets others run until they have most probably parked. What follows holds either way.
void give_way() {
  for (int i = 0; i < 10; ++i) yield();
}

TEST_P(Select, TheIndexIsThePositionOfTheCase) {
  in_fibers([] {
    const chan<int> empty;
    const chan<int> full(1);
    full.send(7);
    int got = 0;
    EXPECT_EQ(select(on_recv(empty), on_recv(full, [&](std::optional<int> v) { got = *v; }),
                     on_timeout(1h), otherwise()),
              1U);
    EXPECT_EQ(got, 7);
    EXPECT_EQ(select(on_recv(empty), on_send(full, 8), otherwise()), 1U);
    EXPECT_EQ(full.size(), 1U);
    bool fell_through = false;
    EXPECT_EQ(select(on_recv(empty), otherwise([&] { fell_through = true; }), on_send(full, 9)),
              1U);
    EXPECT_TRUE(fell_through);
    EXPECT_EQ(select(on_timeout(1h), on_recv(empty), on_timeout(1ms)), 2U);
    EXPECT_EQ(select(on_timeout(1ms), on_recv(empty), on_send(full, 9), on_timeout(1ms)), 0U);
    EXPECT_EQ(*full.recv(), 8);
  });
}

// Each form of a case, in a select that is woken.
TEST_P(Select, WaitsForWhatComesFirst) {
  in_fibers([] {
    const chan<int> in;
    const chan<std::string> out;
    const chan<int> never;
    for (int i = 0; i < 200; ++i) {
      auto partner = spawn([&, i] {
        if (i % 2 == 0) {
          in.send(i);
        } else {
          EXPECT_EQ(*out.recv(), "out " + std::to_string(i));
        }
      });
      if (i % 3 == 0) give_way();
      int fired = 0;
      const size_t index = select(on_recv(never, [] { FAIL(); }),
                                  on_recv(in,
                                          [&](std::optional<int> v) {
                                            EXPECT_EQ(v, i);
                                            ++fired;
                                          }),
                                  on_send(out, "out " + std::to_string(i), [&] { ++fired; }),
                                  on_timeout(1h, [] { FAIL(); }));
      EXPECT_EQ(index, i % 2 == 0 ? 1U : 2U);
      EXPECT_EQ(fired, 1);
      partner.get();
    }
    EXPECT_EQ(never.try_send(1), op_status::full);  // C2: nothing was left in its queue
  });
}

TEST_P(Select, ACallbackIsFreeInItsForm) {
  in_fibers([] {
    const chan<int> c(4);
    for (int i = 0; i < 4; ++i) c.send(i);
    int sum = 0;
    select(on_recv(c, [&](auto v) { sum += *v + 1; }));
    select(on_recv(c, [&] { sum += 10; }));
    select(on_recv(c));
    std::function<void(std::optional<int>)> f = [&](std::optional<int> v) { sum += *v * 100; };
    select(on_recv(c, f));
    EXPECT_EQ(sum, 1 + 10 + 300);
  });
}

TEST_P(Select, SendersAndReceiversAreViews) {
  in_fibers([] {
    const chan<int> c(1);
    const sender<int> in = c;
    const receiver<int> out = c;
    EXPECT_EQ(select(on_send(in, 5), on_timeout(1h)), 0U);
    EXPECT_EQ(select(on_recv(out, [](std::optional<int> v) { EXPECT_EQ(v, 5); }), on_timeout(1h)),
              0U);
    EXPECT_EQ(select(on_recv(receiver<int>(c)), on_send(sender<int>(c), 6)),
              1U);  // kept by their cases
    EXPECT_EQ(*c.recv(), 6);
  });
}

TEST_P(Select, AReceiveFromAClosedChannelHasNoValue) {
  in_fibers([] {
    const chan<int> never;
    const chan<int> c(1);
    c.send(1);
    c.close();
    std::vector<std::optional<int>> seen;
    const auto note = [&](std::optional<int> v) { seen.push_back(v); };
    EXPECT_EQ(select(on_recv(never), on_recv(c, note)), 1U);
    EXPECT_EQ(select(on_recv(never), on_recv(c, note)), 1U);
    EXPECT_EQ(seen, (std::vector<std::optional<int>>{1, std::nullopt}));
  });
}

// C3, SL3: a close is one of those who may win.
TEST_P(Select, ACloseEndsTheWait) {
  in_fibers([] {
    const chan<int> never;
    for (int i = 0; i < 50; ++i) {
      const chan<int> in;
      const chan<int> out;
      auto receiver = spawn([&] {
        int ended = 0;
        const auto end = [&](std::optional<int> v) { ended += v ? 0 : 1; };
        // Twice the same channel: one of the cases.
        EXPECT_NE(select(on_recv(in, end), on_recv(never), on_recv(in, end)), 1U);
        EXPECT_EQ(ended, 1);
      });
      auto sender = spawn([&] {
        EXPECT_THROW(select(on_recv(never), on_send(out, 1, [] { FAIL(); })), closed_channel);
      });
      auto lone_sender = spawn([&] { EXPECT_THROW(select(on_send(out, 1)), closed_channel); });
      if (i % 2 == 0) give_way();
      in.close();
      out.close();
      receiver.get();
      sender.get();
      lone_sender.get();
    }
  });
}

TEST_P(Select, ReceiversAreReleasedByAClose) {
  in_fibers([] {
    const chan<int> never;
    const chan<int> c;
    std::vector<task<void>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(spawn([&] {
        std::optional<int> got = 1;
        select(on_recv(never), on_recv(c, [&](auto v) { got = v; }));
        EXPECT_FALSE(got.has_value());
      }));
    }
    give_way();
    c.close();
    for (auto& t : tasks) t.get();
    EXPECT_THROW(select(on_recv(never), on_send(c, 1)), closed_channel);
    EXPECT_THROW(select(on_send(c, 1), otherwise()), closed_channel);
  });
}

TEST_P(Select, NilIsNeverReady) {
  in_fibers([] {
    const auto nil = chan<int>::nil();
    const chan<int> c(1);
    EXPECT_EQ(select(on_recv(nil), on_send(nil, 1), otherwise()), 2U);
    EXPECT_EQ(select(on_recv(nil), on_timeout(1ms)), 1U);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(select(on_recv(nil), on_send(c, 1), on_send(nil, 2)), 1U);
      (void)c.recv();
    }
    auto waiter = spawn([&] { select(on_recv(nil), on_send(nil, 1)); });
    auto waiter_for_nothing = spawn([&] { select(); });
    give_way();
    EXPECT_FALSE(waiter.done());
    EXPECT_FALSE(waiter_for_nothing.done());
    waiter.request_stop();
    waiter.get();
    waiter_for_nothing.request_stop();
    waiter_for_nothing.get();
  });
}

// As in Go's loops that are done with one of their channels.
TEST_P(Select, ACallbackMayReplaceTheChannel) {
  in_fibers([] {
    chan<int> a(3);
    chan<int> b(3);
    for (int i = 0; i < 3; ++i) {
      a.send(i);
      b.send(i);
    }
    a.close();
    b.close();
    int sum = 0;
    int open = 2;
    const auto from = [&](chan<int>& c) {
      return on_recv(c, [&](std::optional<int> v) {
        if (v) {
          sum += *v;
        } else {
          c = chan<int>::nil();
          --open;
        }
      });
    };
    while (open != 0) select(from(a), from(b));
    EXPECT_EQ(sum, 6);
  });
}

TEST_P(Select, TheSameChannelInSeveralCases) {
  in_fibers([] {
    const chan<int> c;
    const chan<int> other;
    std::array<int, 4> fired{};
    for (int i = 0; i < 400; ++i) {
      auto partner = spawn([c] { c.send(1); });
      give_way();
      ++fired[select(on_recv(c), on_recv(other), on_recv(c), on_recv(c))];
      partner.get();
    }
    EXPECT_EQ(fired[1], 0);
    EXPECT_GT(fired[0], 0);
    EXPECT_GT(fired[2], 0);
    EXPECT_GT(fired[3], 0);
    // Parked: queued in random order.
    fired = {};
    for (int i = 0; i < 400; ++i) {
      auto selects =
          spawn([&] { ++fired[select(on_recv(c), on_recv(other), on_recv(c), on_recv(c))]; });
      give_way();
      c.send(1);
      selects.get();
    }
    EXPECT_EQ(fired[1], 0);
    EXPECT_GT(fired[0], 0);
    EXPECT_GT(fired[2], 0);
    EXPECT_GT(fired[3], 0);
  });
}

// SL1: a select that sends and receives on one channel does not meet itself, and meets others of its kind.
TEST_P(Select, DoesNotMeetItself) {
  in_fibers([] {
    const chan<int> c;
    const chan<int> never;
    EXPECT_EQ(select(on_send(c, 1), on_recv(c), otherwise()), 2U);
    EXPECT_EQ(select(on_send(c, 1), on_recv(c), on_recv(never), on_timeout(1ms)), 3U);
    std::atomic<int> sent{0};
    std::atomic<int> received{0};
    std::vector<task<void>> both;
    for (int i = 0; i < 2; ++i) {
      both.push_back(spawn([&] {
        for (int k = 0; k < 500; ++k) {
          select(on_send(c, 1, [&] { ++sent; }), on_recv(c, [&] { ++received; }));
        }
      }));
    }
    for (auto& t : both) t.get();
    EXPECT_EQ(sent, 500);
    EXPECT_EQ(received, 500);
  });
}

// SL3, SL4: two selects over the same two channels, named in opposite orders.
TEST_P(Select, SelectMeetsSelectOnBothChannels) {
  in_fibers([] {
    const chan<int> a;
    const chan<int> b;
    constexpr int kRounds = 2000;
    std::atomic<int64_t> balance{0};
    auto one = spawn([&] {
      for (int i = 0; i < kRounds; ++i) {
        select(on_send(a, 1, [&] { balance -= 1; }), on_recv(b, [&](auto v) { balance += *v; }));
      }
    });
    for (int i = 0; i < kRounds; ++i) {
      select(on_send(b, 3, [&] { balance -= 3; }), on_recv(a, [&](auto v) { balance += *v; }));
    }
    one.get();
    EXPECT_EQ(balance, 0);
    EXPECT_EQ(a.try_send(1), op_status::full);
    EXPECT_EQ(b.try_send(1), op_status::full);
  });
}

TEST_P(Select, ValuesThatWereNotSentEndWithTheirCases) {
  in_fibers([] {
    const auto shared = std::make_shared<int>(7);
    const chan<std::unique_ptr<std::shared_ptr<int>>> full(1);
    const chan<int> never;
    const auto value = [&] { return std::make_unique<std::shared_ptr<int>>(shared); };
    EXPECT_EQ(select(on_send(full, value()), on_timeout(1h)), 0U);
    EXPECT_EQ(shared.use_count(), 2);
    EXPECT_EQ(select(on_send(full, value()), on_recv(never), on_timeout(1ms)), 2U);
    EXPECT_EQ(select(on_send(full, value()), otherwise()), 1U);
    EXPECT_EQ(shared.use_count(), 2);
    select(on_recv(never), on_recv(full, [&](auto v) { EXPECT_EQ(**v, shared); }));
    EXPECT_EQ(shared.use_count(), 1);
    full.close();
    EXPECT_THROW(select(on_send(full, value()), on_recv(never)), closed_channel);
    EXPECT_EQ(shared.use_count(), 1);
  });
}

TEST_P(Select, TimeLimits) {
  in_fibers([] {
    const chan<int> a;
    const chan<int> b;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(select(on_recv(a), on_recv(b), on_timeout(5ms)), 2U);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 5ms);
    EXPECT_EQ(select(on_timeout(5ms)), 0U);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 10ms);
    EXPECT_EQ(select(on_recv(a), on_timeout(-1s)), 1U);
    EXPECT_EQ(select(on_recv(a), on_recv(b), on_timeout(0s), on_timeout(1ms)), 2U);
    auto forever =
        spawn([&] { select(on_recv(a), on_recv(b), on_timeout(std::chrono::hours::max())); });
    give_way();
    b.send(1);
    forever.get();
    // One that has passed does not go before what can go on.
    const chan<int> full(1);
    for (int i = 0; i < 50; ++i)
      EXPECT_EQ(select(on_send(full, 1), on_timeout(0s)), i == 0 ? 0U : 1U);
  });
}

// ---- Stopping ---------------------------------------------------------------------------------------

TEST_P(Select, IsCancellable) {
  in_fibers([] {
    const chan<int> a;
    const chan<int> b;
    auto t = spawn([&] {
      int times = 0;
      try {
        select(on_recv(a), on_send(b, 1));
      } catch (const stopped&) {
        ++times;
      }
      EXPECT_EQ(times, 1);
      // Once: what follows waits as usual.
      EXPECT_EQ(select(on_recv(a), on_send(b, 1), on_timeout(1ms)), 2U);
      return times;
    });
    give_way();
    t.request_stop();
    EXPECT_EQ(t.get(), 1);
    EXPECT_EQ(a.try_send(1), op_status::full);
    int out;
    EXPECT_EQ(b.try_recv(out), op_status::empty);
  });
}

TEST_P(Select, ARequestThatCameBeforeIsThrownAtTheFirstWait) {
  in_fibers([] {
    const chan<int> c(1);
    const chan<int> never;
    std::atomic<bool> go_on{false};
    auto t = spawn([&] {
      test::until([&] { return go_on.load(); });
      EXPECT_EQ(select(on_recv(never), on_send(c, 1)), 1U);  // does not park
      EXPECT_EQ(select(on_recv(never), on_send(c, 1), otherwise()), 2U);
      EXPECT_THROW(select(on_recv(never), on_send(c, 1)), stopped);
    });
    t.request_stop();
    go_on = true;
    t.get();
  });
}

TEST_P(Select, OnStopOfAnotherToken) {
  in_fibers([] {
    const chan<int> a;
    const chan<int> b;
    for (int i = 0; i < 100; ++i) {
      std::stop_source source;
      auto t = spawn([&, token = source.get_token()] {
        bool told = false;
        EXPECT_EQ(select(on_recv(a), on_stop(token, [&] { told = true; }), on_recv(b)), 1U);
        EXPECT_TRUE(told);
      });
      if (i % 2 == 0) give_way();
      source.request_stop();
      t.get();
      EXPECT_EQ(select(on_recv(a), on_stop(source.get_token())), 1U);
      EXPECT_EQ(select(on_stop(source.get_token())), 0U);
    }
    // Tokens of which nobody can ask are never ready.
    EXPECT_EQ(select(on_recv(a), on_stop(std::stop_token()), on_timeout(1ms)), 2U);
    std::stop_token orphan = std::stop_source().get_token();
    EXPECT_EQ(select(on_recv(a), on_stop(orphan), otherwise()), 2U);
  });
}

TEST_P(Select, OnStopIsOneOfSeveral) {
  in_fibers([] {
    const chan<int> a;
    std::stop_source one;
    std::stop_source two;
    auto t = spawn([&] {
      EXPECT_EQ(select(on_stop(one.get_token()), on_stop(two.get_token()), on_recv(a),
                       on_stop(two.get_token())) %
                    2,
                1U);
    });
    give_way();
    two.request_stop();
    t.get();
    auto u = spawn([&] {
      EXPECT_EQ(select(on_stop(one.get_token()), on_recv(a, [](auto v) { EXPECT_EQ(v, 4); })), 1U);
    });
    give_way();
    a.send(4);
    u.get();
    one.request_stop();  // SL5: no hook of theirs is left
  });
}

// The own token is a case instead of an exception, and the request counts as delivered.
TEST_P(Select, OnStopOfTheOwnToken) {
  in_fibers([] {
    const chan<int> a;
    const chan<int> b;
    for (int i = 0; i < 50; ++i) {
      auto t = spawn([&](const std::stop_token& token) {
        EXPECT_EQ(select(on_recv(a), on_recv(b), on_stop(token)), 2U);
        // The way out is not interrupted.
        EXPECT_EQ(select(on_recv(a), on_recv(b), on_timeout(100us)), 2U);
        EXPECT_EQ(select(on_recv(a), on_stop(token)), 1U);
        return 1;
      });
      if (i % 2 == 0) give_way();
      t.request_stop();
      EXPECT_EQ(t.get(), 1);
    }
  });
}

TEST_P(Select, AnotherTokenLeavesTheWaitCancellable) {
  in_fibers([] {
    const chan<int> a;
    const std::stop_source other;
    auto t = spawn([&] { EXPECT_THROW(select(on_recv(a), on_stop(other.get_token())), stopped); });
    give_way();
    t.request_stop();
    t.get();
  });
}

TEST_P(Select, DoesNotThrowWhileTheStackIsUnwound) {
  in_fibers([] {
    const chan<int> a;
    const chan<int> b;
    struct AtEnd {
      const chan<int>& a;
      const chan<int>& b;
      ~AtEnd() { select(on_recv(a), on_recv(b)); }
    };
    auto t = spawn([&] {
      const AtEnd end{a, b};
      sleep_for(1h);
    });
    give_way();
    t.request_stop();
    give_way();
    b.send(1);
    t.join();
  });
}

// ---- Threads ----------------------------------------------------------------------------------------

TEST_P(Select, ForeignThreadsAndFibersMeet) {
  in_fibers([] {
    const chan<int> to_thread;
    const chan<int> from_thread;
    const chan<int> quit;
    std::thread thread([=] {
      int next = 0;
      for (bool go_on = true; go_on;) {
        select(on_recv(to_thread, [&](auto v) { next += *v; }), on_send(from_thread, next),
               on_recv(quit, [&] { go_on = false; }), on_timeout(1h, [] { FAIL(); }));
      }
    });
    int sum = 0;
    for (int i = 1; i <= 300; ++i) {
      to_thread.send(i);
      sum += i;
      select(on_recv(from_thread, [&](auto v) { EXPECT_EQ(v, sum); }),
             on_timeout(1h, [] { FAIL(); }));
    }
    quit.close();
    blocking([&] { thread.join(); });
  });
}

TEST(SelectWithoutRuntime, ThreadsAlone) {
  const chan<int> a;
  const chan<int> b;
  std::stop_source source;
  std::thread other([&] {
    for (int i = 0; i < 200; ++i) select(on_send(a, i), on_send(b, -i));
    source.request_stop();
  });
  int received = 0;
  bool told = false;
  while (!told) {
    select(on_recv(a, [&] { ++received; }), on_recv(b, [&] { ++received; }),
           on_stop(source.get_token(), [&] { told = true; }));
  }
  other.join();
  EXPECT_EQ(received, 200);
  EXPECT_EQ(select(on_recv(a), on_recv(b), on_timeout(1ms)), 2U);
  EXPECT_EQ(select(on_recv(a), on_recv(b), otherwise()), 2U);
}

TEST_P(Select, InsideBlocking) {
  in_fibers([] {
    const chan<int> a;
    const chan<int> b;
    std::stop_source source;
    auto t = spawn([&] {
      blocking([&] {
        EXPECT_EQ(select(on_recv(a), on_recv(b), on_stop(source.get_token())), 1U);
        EXPECT_EQ(select(on_recv(a), on_recv(b), on_timeout(1ms)), 2U);
      });
    });
    give_way();
    b.send(1);
    t.get();
  });
}

}  // namespace
}  // namespace gort
