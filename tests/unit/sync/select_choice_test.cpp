// The choice of a select: each case that can go on has the same chance, found or queued.
#include <gtest/gtest.h>

#include <array>
#include <optional>

#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

class SelectChoice : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(SelectChoice);

// The chi-squared statistic of counts that should all be the same. Below kChiSquared7 in all but one of a million
// runs where there are seven degrees of freedom.
constexpr double kChiSquared7 = 40.5;
template <size_t kN>
double chi_squared(const std::array<int, kN>& counts, int total) {
  const double each = static_cast<double>(total) / kN;
  double sum = 0;
  for (const int n : counts) sum += (n - each) * (n - each) / each;
  return sum;
}

template <class Once>
void expect_even(Once&& once) {
  constexpr int kTimes = 8000;
  std::array<int, 8> fired{};
  for (int i = 0; i < kTimes; ++i) ++fired[once()];
  EXPECT_LT(chi_squared(fired, kTimes), kChiSquared7) << testing::PrintToString(fired);
}

TEST_P(SelectChoice, TheChoiceIsEven) {
  in_fibers([] {
    std::array<chan<int>, 8> c;
    for (auto& one : c) {
      one = chan<int>(1);
      one.send(0);
    }
    const auto put_back = [&](size_t i) { return on_recv(c[i], [&c, i] { c[i].send(0); }); };
    expect_even([&] {
      return select(put_back(0), put_back(1), put_back(2), put_back(3), put_back(4), put_back(5),
                    put_back(6), put_back(7));
    });
    // Some of many: more cases than are compared one by one, and half of them never ready.
    const chan<int> never;
    selector s;
    for (size_t i = 0; i < 8; ++i) {
      s.add(put_back(i));
      s.add(on_recv(never));
    }
    expect_even([&] { return s.select() / 2; });
  });
}

TEST_P(SelectChoice, TheChoiceAmongTheQueuedIsEven) {
  in_fibers([] {
    const chan<int> c;
    selector s;
    for (size_t i = 0; i < 8; ++i) s.add(on_recv(c));
    const chan<size_t> results;
    auto t = spawn([&] {
      for (;;) results.send(s.select());
    });
    // If the select is not there yet, it draws when it looks; else it has drawn when it queued itself.
    expect_even([&] {
      c.send(1);
      return *results.recv();
    });
    t.request_stop();
    t.join();
  });
}

}  // namespace
}  // namespace gort
