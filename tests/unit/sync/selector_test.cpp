// selector: select with cases known only when the program runs.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class Selector : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Selector);

TEST_P(Selector, CasesKnownAtRunTime) {
  in_fibers([] {
    constexpr size_t kChannels = 100;
    const std::vector<chan<size_t>> channels(kChannels);
    selector s;
    std::vector<int> seen(kChannels);
    for (size_t i = 0; i < kChannels; ++i) {
      EXPECT_EQ(s.add(on_recv(channels[i],
                              [&seen, i](std::optional<size_t> v) {
                                EXPECT_EQ(v, i);
                                ++seen[i];
                              })),
                i);
    }
    EXPECT_EQ(s.size(), kChannels);
    EXPECT_EQ(s.poll(), std::nullopt);
    std::vector<task<void>> senders;
    for (size_t i = 0; i < kChannels; ++i) {
      senders.push_back(spawn([c = channels[i], i] {
        for (int k = 0; k < 5; ++k) c.send(i);
      }));
    }
    for (size_t i = 0; i < 5 * kChannels; ++i) EXPECT_LT(s.select(), kChannels);
    for (auto& t : senders) t.get();
    EXPECT_EQ(seen, std::vector<int>(kChannels, 5));
    EXPECT_EQ(s.poll(), std::nullopt);
    s.clear();
    EXPECT_EQ(s.size(), 0U);
  });
}

TEST_P(Selector, EveryKindOfCase) {
  in_fibers([] {
    const chan<int> in(1);
    const chan<int> out(1);
    std::stop_source source;
    selector s;
    s.add(on_recv(in));
    s.add(on_send(out, 7));
    s.add(on_timeout(1ms));
    s.add(on_stop(source.get_token()));
    EXPECT_EQ(s.select(), 1U);
    EXPECT_EQ(s.select(), 2U);
    EXPECT_EQ(s.poll(), std::nullopt);
    in.send(1);
    EXPECT_EQ(s.poll(), 0U);
    EXPECT_EQ(*out.recv(), 7);
    EXPECT_EQ(s.select(), 1U);  // a copy each time
    EXPECT_EQ(*out.recv(), 7);
    EXPECT_EQ(s.poll(), 1U);
    source.request_stop();
    EXPECT_EQ(s.select(), 3U);
    s.set(3, otherwise());
    EXPECT_EQ(s.select(), 3U);
    EXPECT_EQ(s.poll(), 3U);
    EXPECT_THROW(s.add(otherwise()), std::logic_error);
    EXPECT_THROW(s.set(0, otherwise()), std::logic_error);
    s.set(3, otherwise());
    EXPECT_THROW(s.set(4, on_recv(in)), std::out_of_range);
    EXPECT_EQ(s.size(), 4U);
    out.close();
    s.set(3, on_timeout(1ms));
    EXPECT_THROW(s.select(), closed_channel);
    EXPECT_THROW(s.poll(), closed_channel);
  });
}

TEST_P(Selector, AValueWithoutCopiesIsSentOnce) {
  in_fibers([] {
    const chan<std::unique_ptr<int>> c(2);
    selector s;
    s.add(on_send(c, std::make_unique<int>(3)));
    EXPECT_EQ(s.select(), 0U);
    EXPECT_EQ(s.poll(), std::nullopt);
    s.set(0, on_send(c, std::make_unique<int>(4)));
    EXPECT_EQ(s.poll(), 0U);
    EXPECT_EQ(**c.recv(), 3);
    EXPECT_EQ(**c.recv(), 4);
  });
}

// Their trait says that they have copies.
using Pieces = std::vector<std::unique_ptr<int>>;
static_assert(std::is_copy_constructible_v<Pieces>);
struct Sealed {
  Pieces pieces;
};
static_assert(sent_once<Pieces> && sent_once<std::optional<Pieces>> &&
              sent_once<std::map<int, Pieces>> && sent_once<std::pair<int, Pieces>> &&
              sent_once<std::tuple<int, Pieces>> && sent_once<std::vector<Pieces>>);
static_assert(!sent_once<std::map<int, std::string>> && !sent_once<chan<std::unique_ptr<int>>>);
struct Nested : std::vector<Nested> {};
static_assert(!sent_once<Nested>);

}  // namespace

template <>
inline constexpr bool sent_once<Sealed> = true;

namespace {

TEST_P(Selector, AContainerWithoutCopiesIsSentOnce) {
  in_fibers([] {
    const chan<Pieces> c(2);
    const chan<Sealed> sealed(2);
    const auto pieces = [] {
      Pieces p;
      p.push_back(std::make_unique<int>(3));
      return p;
    };
    selector s;
    s.add(on_send(c, pieces()));
    s.add(on_send(sealed, Sealed{pieces()}));
    EXPECT_NE(s.select(), s.select());
    EXPECT_EQ(s.poll(), std::nullopt);
    EXPECT_EQ(*c.recv()->at(0), 3);
    EXPECT_EQ(*sealed.recv()->pieces.at(0), 3);
  });
}

// Copied from a const, as everybody copies.
TEST_P(Selector, CopiesWithoutChangingItsValue) {
  struct Greedy {
    Greedy() = default;
    Greedy(Greedy& other) : copies(other.copies++) {}
    Greedy(const Greedy& other) = default;
    Greedy(Greedy&&) noexcept = default;
    int copies = 0;
  };
  in_fibers([] {
    const chan<Greedy> c(2);
    selector s;
    s.add(on_send(c, Greedy()));
    s.select();
    s.select();
    EXPECT_EQ(c.recv()->copies, 0);
    EXPECT_EQ(c.recv()->copies, 0);
  });
}

TEST_P(Selector, AFunctionMayThrow) {
  in_fibers([] {
    const chan<int> c(2);
    bool throws = true;
    const auto f = [&] {
      if (throws) throw std::runtime_error("fired");
    };
    EXPECT_THROW(select(on_send(c, 1, f)), std::runtime_error);
    EXPECT_THROW(select(on_recv(c, f), on_recv(chan<int>())), std::runtime_error);
    EXPECT_EQ(c.size(), 0U);  // it was sent, and received
    selector s;
    s.add(on_send(c, 7, f));
    s.add(on_timeout(0s, f));
    for (size_t sent = 1; sent <= 2; ++sent) {
      EXPECT_THROW(s.select(), std::runtime_error);
      EXPECT_EQ(c.size(), sent);
    }
    EXPECT_THROW(s.select(), std::runtime_error);  // the limit
    throws = false;
    EXPECT_EQ(s.select(), 1U);
    EXPECT_EQ(c.recv(), 7);
    EXPECT_EQ(s.select(), 0U);
    EXPECT_EQ(c.recv(), 7);
    EXPECT_EQ(c.recv(), 7);
  });
}

TEST_P(Selector, ThousandsOfCases) {
  in_fibers([] {
    constexpr size_t kChannels = 4000;
    constexpr size_t kRounds = 30;
    std::vector<chan<size_t>> all;
    all.reserve(kChannels);
    selector s;
    size_t got = kChannels;
    for (size_t i = 0; i < kChannels; ++i) {
      all.emplace_back();
      s.add(on_recv(all[i], [&](std::optional<size_t> v) { got = v.value_or(kChannels); }));
    }
    EXPECT_EQ(s.poll(), std::nullopt);
    auto sends = spawn([&all] {
      for (size_t k = 0; k < kRounds; ++k) {
        const size_t i = k * 2654435761U % kChannels;
        all[i].send(i);
      }
    });
    for (size_t k = 0; k < kRounds; ++k) {
      const size_t i = k * 2654435761U % kChannels;
      EXPECT_EQ(s.select(), i);
      EXPECT_EQ(got, i);
    }
    sends.join();
    s.add(on_timeout(1ms));
    EXPECT_EQ(s.select(), kChannels);
  });
}

TEST_P(Selector, KeepsItsChannels) {
  in_fibers([] {
    const auto shared = std::make_shared<int>(7);
    selector s;
    {
      const chan<std::shared_ptr<int>> c(2);
      c.send(shared);
      s.add(on_recv(c));
      s.add(on_send(c, shared));
    }
    EXPECT_LT(s.select(), 2U);
    selector moved = std::move(s);
    EXPECT_LT(moved.select(), 2U);
    moved.clear();
    EXPECT_EQ(shared.use_count(), 1);
  });
}

TEST_P(Selector, ACallbackMayChangeIt) {
  in_fibers([] {
    const chan<int> c(1);
    selector s;
    int calls = 0;
    s.add(on_send(c, 1, [&] {
      for (int i = 0; i < 100; ++i) s.add(on_recv(chan<int>()));
      s.set(0, on_recv(c, [&](std::optional<int> v) {
              EXPECT_EQ(v, 1);
              s.clear();
              ++calls;
            }));
      ++calls;
    }));
    EXPECT_EQ(s.select(), 0U);
    EXPECT_EQ(s.size(), 101U);
    EXPECT_EQ(s.select(), 0U);
    EXPECT_EQ(s.size(), 0U);
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(s.poll(), std::nullopt);
  });
}

}  // namespace
}  // namespace gort
