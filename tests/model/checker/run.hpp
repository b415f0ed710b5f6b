// Run: the explorer's insides, for the files that implement it. checker.hpp is the interface.
#pragma once

#include <cxxabi.h>

#include <array>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "checker/checker.hpp"
#include "sched/context.hpp"
#include "sched/sanitizer.hpp"

namespace model {

inline constexpr size_t kStackBytes = 256 * 1024;

enum class State : uint8_t { absent, ready, paused, asleep, joining, awaiting, ended };

// The C++ runtime's exception state, which the fibers of one thread must not share.
struct EhGlobals {
  void* caught = nullptr;
  unsigned uncaught = 0;
};

struct Fiber {
  gort::Context context;
  gort::SanitizerState sanitizer;
  std::byte* stack = nullptr;
  std::function<void()> body;

  State state = State::absent;
  Step next;                    // what it does when it goes on
  uint64_t seen_changes = 0;    // paused: goes on when there are more
  bool newest_only = false;     // went on from a pause because nobody else could
  bool stuck = false;           // paused again after that, with nothing changed
  uint32_t left_out_since = 0;  // a step; 0: it has gone on since
  LocationId asleep_on = 0;
  bool has_limit = false;
  bool woken = false;
  ThreadId joins = 0;
  std::function<bool()> awaits;
  EhGlobals eh;
};

// A point where a run could go on in several ways.
struct Choice {
  uint32_t taken = 0;
  uint32_t count = 0;
};

// A Site as the compiler gives it: several may be one (a header's path in several files).
struct Call {
  const char* path;
  uint32_t line;
  Op op;
  std::memory_order order;
  bool operator==(const Call&) const = default;
};
struct HashOfCall {
  size_t operator()(const Call& c) const noexcept {
    const auto place = reinterpret_cast<uintptr_t>(c.path) + c.line;
    return (place * 31 + static_cast<size_t>(c.op)) * 8 + static_cast<size_t>(c.order);
  }
};

struct Record {
  ThreadId thread;
  Step step;
  uint64_t value;
  std::memory_order order;
  bool stale;
};

class Checker {
 public:
  Checker(const Options& options, const std::function<void()>& program)
      : options_(options), program_(program) {}

  Result explore_all();

  // Within a run.
  ThreadId current() const { return current_; }
  Memory& memory() { return memory_; }
  ThreadId start(std::function<void()> body);
  void join(ThreadId t);
  void await(std::function<bool()> holds);
  void before(const Step& step);
  void after(const Step& step, uint64_t value, std::memory_order order);
  uint32_t choose(uint32_t n);
  void pause();
  SleepEnd futex_sleep(LocationId x, uint32_t value, bool has_limit);
  void futex_wake(LocationId x, uint32_t n);
  void heavy_fence(bool real);
  std::memory_order order_at(Where where, Op op, std::memory_order written);
  [[noreturn]] void fail(const std::string& what);
  [[nodiscard]] bool is_mutant() const { return options_.mutant != nullptr; }
  void fiber_main();
  std::string trace() const;

 private:
  void run_once();
  bool backtrack();
  void leave_to(ThreadId t);
  void switch_fibers(gort::Context& from, gort::SanitizerState& from_s, gort::Context& to,
                     gort::SanitizerState& to_s, gort::SwitchKind kind);
  ThreadId pick_next();
  void wake_dependent(ThreadId next);
  // True: the first one was left out for long.
  bool put_left_out_first(std::array<ThreadId, kMaxThreads>& possible, uint32_t count);
  static EhGlobals& eh() { return *reinterpret_cast<EhGlobals*>(abi::__cxa_get_globals()); }
  bool can_go_on(ThreadId t) const;
  void begin_waiting(Fiber& f);
  uint32_t take(uint32_t n, uint32_t usual, uint32_t one_in);
  void begin_random_run();
  template <class Possible>
  uint32_t usual_of(const Possible& possible);
  std::string replay() const;
  std::string name_of(LocationId x) const;

  const Options& options_;
  const std::function<void()>& program_;
  Memory memory_;
  std::array<Fiber, kMaxThreads> fibers_;
  ThreadId fiber_count_ = 0;
  ThreadId current_ = 0;
  gort::Context outside_;
  gort::SanitizerState outside_s_;

  std::vector<Choice> choices_;
  size_t depth_ = 0;
  std::vector<uint32_t> replay_;
  std::mt19937_64 random_;
  std::array<uint64_t, kMaxThreads>
      priority_{};              // of a random run; all alike: the current thread goes on
  uint32_t switch_one_in_ = 1;  // of a random run: how often anybody may go on
  bool by_priority_ = false;
  uint32_t sleeping_ = 0;  // sleep set, one bit per thread
  int preemptions_left_ = 0;
  int stale_left_ = 0;
  uint32_t spurious_left_ = 0;
  uint32_t steps_ = 0;
  bool pruned_ = false;  // the run has become one that was seen; it only goes to its end
  std::vector<Record> records_;
  Result result_;
  std::memory_order order_of_new(Where where, Op op, std::memory_order written);
  std::set<Site> sites_;
  std::unordered_map<Call, std::memory_order, HashOfCall> orders_;  // what order_at() says
};

// The exploration under way, or nullptr.
extern Checker* checker;
extern uint64_t
    runs_ever;  // numbers runs across explorations: atomic<T> sees by it that a run is new
extern void (*on_switch)(ThreadId to);

// For people.
const char* name_of(Op op);
const char* name_of(std::memory_order order);

}  // namespace model
