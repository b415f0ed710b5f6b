// fork_fixture: a fork of a process with a runtime, by a fiber, inside blocking(), and by a thread.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "gort/gort.hpp"
#include "support/child.hpp"
#include "support/scheduler_test.hpp"

namespace gort::test {

inline constexpr std::string_view kChildWaits = "gort: fatal: the child of a fork waits";

template <class F>
bool throws_logic_error(F&& f) {
  try {
    f();
  } catch (const std::logic_error& e) {
    return std::string_view(e.what()).find("child of a fork") != std::string_view::npos;
  }
  return false;
}

// For a child: what it ends with.
template <class F>
int passes(F&& f) {
  f();
  return testing::Test::HasFailure() ? 1 : 0;
}

// Who forks: a fiber that is interrupted often, one inside blocking(), or a thread beside the runtime.
enum class Who : uint8_t { fiber, blocking, thread };

class ForkTest : public testing::TestWithParam<Who> {
 protected:
  void SetUp() override {
    if (kTsan) GTEST_SKIP() << "TSan does not follow a fork of a process with threads";
  }
  template <class F>
  void there(F&& body) {
    const Resources before;
    options o{.procs = 2};
    o.slice = std::chrono::milliseconds(1);
    run(o, [&] {
      switch (GetParam()) {
        case Who::fiber:
          body();
          break;
        case Who::blocking:
          blocking(body);
          break;
        case Who::thread:
          blocking([&] { std::thread(body).join(); });
          break;
      }
    });
    before.expect_unchanged();
  }
};

}  // namespace gort::test

#define GORT_WHOEVER_FORKS(Suite)                                                            \
  INSTANTIATE_TEST_SUITE_P(                                                                  \
      Who, Suite, testing::Values(test::Who::fiber, test::Who::blocking, test::Who::thread), \
      [](const testing::TestParamInfo<test::Who>& info) {                                    \
        return info.param == test::Who::fiber      ? "fiber"                                 \
               : info.param == test::Who::blocking ? "blocking"                              \
                                                   : "thread";                               \
      })
