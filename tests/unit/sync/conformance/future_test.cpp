// What the standard says of promise, future and shared_future.
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

#include "sync/conformance/crew.hpp"

namespace gort::conformance {
namespace {

using namespace std::chrono_literals;

struct Gort {
  template <class R>
  using promise = gort::promise<R>;
  template <class R>
  using future = gort::future<R>;
  template <class R>
  using shared_future = gort::shared_future<R>;
};
struct Std {
  template <class R>
  using promise = std::promise<R>;
  template <class R>
  using future = std::future<R>;
  template <class R>
  using shared_future = std::shared_future<R>;
};

template <class C>
class Futures : public Suite<C> {};
using FutureTypes =
    Types<Case<Gort, Way::fibers>, Case<Gort, Way::threads>, Case<Gort, Way::mixed>, Standard<Std>>;
TYPED_TEST_SUITE(Futures, FutureTypes);

template <class F>
void expect_code(std::future_errc code, F&& f) {
  try {
    f();
    ADD_FAILURE() << "no exception";
  } catch (const std::future_error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
  }
}

TYPED_TEST(Futures, HaveTheStandardsForm) {
  using L = typename TestFixture::T;
  using promise = typename L::template promise<int>;
  using future = typename L::template future<int>;
  using shared = typename L::template shared_future<int>;
  static_assert(std::is_nothrow_move_constructible_v<promise> &&
                std::is_nothrow_move_assignable_v<promise>);
  static_assert(!std::is_copy_constructible_v<promise> && !std::is_copy_assignable_v<promise>);
  static_assert(std::uses_allocator_v<promise, std::allocator<int>>);
  static_assert(std::is_nothrow_default_constructible_v<future>);
  static_assert(std::is_nothrow_move_constructible_v<future> &&
                !std::is_copy_constructible_v<future>);
  static_assert(std::is_nothrow_copy_constructible_v<shared> &&
                std::is_nothrow_constructible_v<shared, future&&>);
  static_assert(std::is_same_v<decltype(std::declval<future&>().get()), int>);
  static_assert(std::is_same_v<decltype(std::declval<const shared&>().get()), const int&>);
  static_assert(
      std::is_same_v<decltype(std::declval<typename L::template shared_future<int&>&>().get()),
                     int&>);
  static_assert(
      std::is_same_v<decltype(std::declval<typename L::template future<void>&>().get()), void>);
  static_assert(
      noexcept(std::declval<future&>().share())&& noexcept(std::declval<future&>().valid()));
}

TYPED_TEST(Futures, AValueGoesOver) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    for (int round = 0; round < 30; ++round) {
      typename L::template promise<std::string> text;
      typename L::template promise<std::unique_ptr<int>> owned;
      typename L::template promise<int&> reference;
      typename L::template promise<void> nothing;
      auto a = text.get_future();
      auto b = owned.get_future();
      auto c = reference.get_future();
      auto d = nothing.get_future();
      int there = 5;
      typename TestFixture::crew crew;
      crew.start([&] {
        const std::string kept("a text that is too long for the string itself");
        text.set_value(kept);
        owned.set_value(std::make_unique<int>(7));
        there = 6;
        reference.set_value(there);
        nothing.set_value();
      });
      EXPECT_EQ(a.get(), "a text that is too long for the string itself");
      EXPECT_EQ(*b.get(), 7);
      EXPECT_EQ(&c.get(), &there);
      EXPECT_EQ(there, 6);
      d.wait();
      EXPECT_TRUE(d.valid());
      d.get();
      EXPECT_FALSE(a.valid() || b.valid() || c.valid() || d.valid());
    }
  });
}

TYPED_TEST(Futures, AnExceptionGoesOver) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    typename L::template promise<int> p;
    auto f = p.get_future();
    typename TestFixture::crew crew;
    crew.start([&] { p.set_exception(std::make_exception_ptr(std::runtime_error("no number"))); });
    EXPECT_THROW(f.get(), std::runtime_error);
    EXPECT_FALSE(f.valid());
  });
}

TYPED_TEST(Futures, APromiseIsKeptOnce) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    typename L::template promise<int> p;
    auto f = p.get_future();
    expect_code(std::future_errc::future_already_retrieved, [&] { (void)p.get_future(); });
    p.set_value(1);
    const auto e = std::make_exception_ptr(1);
    expect_code(std::future_errc::promise_already_satisfied, [&] { p.set_value(2); });
    expect_code(std::future_errc::promise_already_satisfied, [&] { p.set_exception(e); });
    EXPECT_EQ(f.get(), 1);
    typename L::template promise<void> q;
    q.set_exception(e);
    expect_code(std::future_errc::promise_already_satisfied, [&] { q.set_value(); });
    EXPECT_THROW(q.get_future().get(), int);
  });
}

TYPED_TEST(Futures, WhatHasNoStateSaysSo) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    typename L::template promise<int> p;
    const typename L::template promise<int> taken(std::move(p));
    const auto e = std::make_exception_ptr(1);
    expect_code(std::future_errc::no_state, [&] { (void)p.get_future(); });
    expect_code(std::future_errc::no_state, [&] { p.set_value(2); });
    expect_code(std::future_errc::no_state, [&] { p.set_exception(e); });
    typename L::template future<int> f;
    EXPECT_FALSE(f.valid());
    expect_code(std::future_errc::no_state, [&] { (void)f.get(); });
    expect_code(std::future_errc::no_state, [&] { f.wait(); });
    expect_code(std::future_errc::no_state, [&] { (void)f.wait_for(1ms); });
    const typename L::template shared_future<int> s(f.share());
    EXPECT_FALSE(s.valid());
    expect_code(std::future_errc::no_state, [&] { (void)s.get(); });
  });
}

TYPED_TEST(Futures, APromiseThatEndsIsBroken) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    auto p = std::make_unique<typename L::template promise<int>>();
    auto f = p->get_future();
    typename TestFixture::crew crew;
    crew.start([&] { p.reset(); });
    expect_code(std::future_errc::broken_promise, [&] { (void)f.get(); });
    crew.join();
    typename L::template promise<void> a;
    auto g = a.get_future();
    a = typename L::template promise<void>();
    expect_code(std::future_errc::broken_promise, [&] { g.get(); });
    // One that was kept is not.
    typename L::template promise<void> kept;
    auto h = kept.get_future();
    kept.set_value();
    kept = {};
    h.get();
  });
}

TYPED_TEST(Futures, PromisesMoveAndSwap) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    typename L::template promise<int> a;
    typename L::template promise<int> b;
    auto of_a = a.get_future();
    auto of_b = b.get_future();
    swap(a, b);
    a.set_value(2);
    b.swap(a);
    a.set_value(1);
    EXPECT_EQ(of_a.get(), 1);
    EXPECT_EQ(of_b.get(), 2);
    auto moved = std::move(b);
    expect_code(std::future_errc::future_already_retrieved, [&] { (void)moved.get_future(); });
  });
}

TYPED_TEST(Futures, LimitsPass) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    typename L::template promise<int> p;
    auto f = p.get_future();
    auto s = f.share();
    expect_limits_pass(
        [&](const auto& when) { return s.wait_until(when) == std::future_status::ready; });
    expect_durations_pass(
        [&](const auto& limit) { return s.wait_for(limit) == std::future_status::ready; });
    typename TestFixture::crew crew;
    crew.start([&] { p.set_value(1); });
    EXPECT_EQ(s.wait_for(1h), std::future_status::ready);
    EXPECT_EQ(s.wait_for(0ms), std::future_status::ready);
    EXPECT_EQ(s.wait_until(std::chrono::system_clock::now() - 1h), std::future_status::ready);
  });
}

TYPED_TEST(Futures, ASharedOneIsForMany) {
  TestFixture::in_crew([] {
    using L = typename TestFixture::T;
    for (int round = 0; round < 30; ++round) {
      typename L::template promise<std::string> p;
      const typename L::template shared_future<std::string> f = p.get_future();
      typename TestFixture::crew crew;
      std::atomic<const std::string*> where{nullptr};
      for (int i = 0; i < 4; ++i) {
        crew.start([&where, f] {
          const std::string& value = f.get();
          EXPECT_EQ(value, "for all");
          where = &value;
        });
      }
      p.set_value("for all");
      crew.join();
      EXPECT_EQ(where.load(), &f.get());
      EXPECT_TRUE(f.valid());
    }
  });
}

// What throws while the value is put in leaves the promise as it was.
TYPED_TEST(Futures, AValueThatCannotBeCopiedIsNone) {
  struct picky {
    int n;
    explicit picky(int v) : n(v) {}
    picky(const picky& other) : n(other.n) {
      if (n < 0) throw std::runtime_error("negative");
    }
  };
  using L = typename TestFixture::T;
  TestFixture::in_crew([] {
    typename L::template promise<picky> p;
    auto f = p.get_future();
    const picky bad(-1);
    const picky good(1);
    EXPECT_THROW(p.set_value(bad), std::runtime_error);
    EXPECT_EQ(f.wait_for(0ms), std::future_status::timeout);
    p.set_value(good);
    EXPECT_EQ(f.get().n, 1);
  });
}

// Counts what it has given.
template <class T>
struct counting_allocator {
  using value_type = T;
  std::atomic<int>* live;
  explicit counting_allocator(std::atomic<int>* l) : live(l) {}
  template <class U>
  counting_allocator(const counting_allocator<U>& other) : live(other.live) {}
  T* allocate(size_t n) {
    ++*live;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, size_t n) {
    --*live;
    std::allocator<T>().deallocate(p, n);
  }
  template <class U>
  bool operator==(const counting_allocator<U>& other) const {
    return live == other.live;
  }
};

TYPED_TEST(Futures, TheStateIsTheAllocators) {
  std::atomic<int> live{0};
  TestFixture::in_crew([&] {
    using L = typename TestFixture::T;
    const counting_allocator<char> allocator(&live);
    auto p =
        std::make_unique<typename L::template promise<std::string>>(std::allocator_arg, allocator);
    typename L::template promise<int&> reference(std::allocator_arg, allocator);
    typename L::template promise<void> nothing(std::allocator_arg, allocator);
    EXPECT_GE(live.load(), 3);
    auto f = p->get_future();
    typename TestFixture::crew crew;
    crew.start([&] {
      p->set_value("x");
      p.reset();
    });
    EXPECT_EQ(f.get(), "x");
  });
  EXPECT_EQ(live.load(), 0);
}

}  // namespace
}  // namespace gort::conformance
