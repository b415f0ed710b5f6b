// Results that are no plain values: references of both kinds, and what throws while it is moved.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "gort/gort.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

class Results : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Results);

TEST_P(Results, OfATaskMayBeReferences) {
  in_fibers([] {
    std::string text = "here";
    task<std::string&> lvalue = spawn([&text]() -> std::string& { return text; });
    static_assert(std::is_same_v<decltype(lvalue.get()), std::string&>);
    EXPECT_EQ(&lvalue.get(), &text);
    task<const std::string&> constant = spawn([&text]() -> const std::string& { return text; });
    EXPECT_EQ(&constant.get(), &text);
    task<std::string&&> xvalue = spawn([&text]() -> std::string&& { return std::move(text); });
    static_assert(std::is_same_v<decltype(xvalue.get()), std::string&&>);
    const std::string moved = xvalue.get();
    EXPECT_EQ(moved, "here");
    EXPECT_TRUE(text.empty()) << "moved, once it was got";
    task<int&> thrown = spawn([]() -> int& { throw 5; });
    EXPECT_THROW((void)thrown.get(), int);
  });
}

TEST_P(Results, OfARunMayBeReferences) {
  std::string text = "here";
  const auto lvalue = [&text]() -> std::string& { return text; };
  const auto xvalue = [&text]() -> std::string&& { return std::move(text); };
  EXPECT_EQ(&run(opts(), lvalue), &text);
  static_assert(std::is_same_v<decltype(run(opts(), xvalue)), std::string&&>);
  const std::string moved = run(opts(), xvalue);
  EXPECT_EQ(moved, "here");
  EXPECT_TRUE(text.empty());
  text = "again";
  runtime rt(opts());
  static_assert(std::is_same_v<decltype(rt.run(lvalue)), std::string&>);
  EXPECT_EQ(&rt.run(lvalue), &text);
  const std::string moved_again = rt.run(xvalue);
  EXPECT_EQ(moved_again, "again");
  static_assert(std::is_void_v<decltype(rt.run([] {}))>);
  EXPECT_EQ(rt.run([] { return 3; }), 3);
}

// Can be moved so often.
struct Moves {
  int left;
  explicit Moves(int n) : left(n) {}
  // NOLINTNEXTLINE(performance-noexcept-move-constructor,bugprone-exception-escape): what is tested
  Moves(Moves&& o) : left(o.left - 1) {
    if (left < 0) throw std::string("not so often");
  }
};

TEST_P(Results, MayThrowWhileTheyAreMoved) {
  in_fibers([] {
    constexpr int kIntoTheTask = 1;
    EXPECT_EQ(spawn([] { return Moves(kIntoTheTask + 1); }).get().left, 0);
    auto not_into = spawn([] { return Moves(0); });
    EXPECT_THROW((void)not_into.get(), std::string);
    EXPECT_FALSE(not_into.joinable());
    auto not_out_of = spawn([] { return Moves(kIntoTheTask); });
    EXPECT_THROW((void)not_out_of.get(), std::string);
    EXPECT_FALSE(not_out_of.joinable()) << "got, for all that";
  });
}

// Throws where it is copied into a fiber.
struct NoCopy {
  NoCopy() = default;
  NoCopy(const NoCopy&) { throw std::string("no copy"); }
};

TEST_P(Results, OfStartsThatThrowAreNoCounts) {
  in_fibers([] {
    const NoCopy argument;
    const auto takes = [](const NoCopy&) { ADD_FAILURE() << "it was not to start"; };
    wait_group counts;
    EXPECT_THROW(counts.go(takes, argument), std::string);
    counts.wait();
    task_group g;
    EXPECT_THROW(g.spawn(takes, argument), std::string);
    g.join();
    EXPECT_EQ(num_fibers(), 1U);
  });
}

}  // namespace
}  // namespace gort
