// Checker: runs a small program of threads and atomics in every way that it can go, and stops at the first
// that goes wrong.
//
// Stateless model checking: a run is a list of choices (who goes on, which message a load reads);
// the program is run again and again, each time with the last choice changed that has an
// alternative left (depth first). The threads are fibers on one OS thread and change places only
// at operations on atomics.
//
//   - Sleep sets (Godefroid 1996) leave out runs that differ only in the order of independent operations.
//   - A bound on preemptions (Musuvathi and Qadeer, CHESS 2007) instead, for programs that are too big.
//   - Random runs from a seed for those that are bigger still.
//
// What counts as wrong: check() is false; two accesses to a var<T> race; all threads wait (a lost
// wake-up); threads wait for a change that nobody can make (livelock); an atomic is used after its
// end. A loop that waits must say so by pause() (cpu_pause, osyield) or sleep in a futex.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "checker/memory.hpp"

namespace model {

enum class Op : uint8_t {
  start,
  load,
  store,
  modify,
  fence,
  heavy_fence,
  sleep,
  woken,
  wake,
  pause,
  join,
  end,
  set,
  wait,
  recheck  // no step of a run: what a mutant goes without
};

// Where a call stands, as std::source_location, which clang 14 does not have.
struct Where {
  const char* path;
  uint32_t line;
  static constexpr Where current(const char* path = __builtin_FILE(),
                                 uint32_t line = __builtin_LINE()) noexcept {
    return {path, line};
  }
};

// A place in the sources where an atomic is used or a fence stands.
struct Site {
  std::string file;  // without directories
  std::string path;
  uint32_t line = 0;
  Op op = Op::load;
  std::memory_order order = std::memory_order_seq_cst;  // as written
  bool operator==(const Site&) const = default;
  auto operator<=>(const Site&) const = default;
};
std::string text_of(const Site& site);

// Weakens the order at one site; a fence that is weakened to relaxed is none. Of a second look (Mem::recheck)
// it drops what follows from it.
struct Mutant {
  Site site;
  std::memory_order weaker = std::memory_order_relaxed;
};

struct Options {
  int preemptions = -1;           // < 0: no bound, sleep sets
  int stale = -1;                 // < 0: any number of reads per run that are not the newest
  uint64_t max_runs = 2'000'000;  // more: Result::complete is false
  uint64_t random_runs = 0;       // > 0: random mode
  uint64_t seed = 1;              // of the random mode; run i has seed + i
  uint32_t spurious = 1;          // futex sleeps per run that end early
  uint32_t max_steps = 5000;      // of a run
  std::string replay = {};        // choices of one run (Result::replay)
  const Mutant* mutant = nullptr;
};

struct Result {
  bool failed = false;
  bool complete = false;  // every run within the bounds was tried
  uint64_t runs = 0;
  std::string what;         // the failure
  std::string trace;        // its run, one operation per line
  std::string replay;       // for Options::replay
  std::vector<Site> sites;  // that the runs came by
};
std::ostream& operator<<(std::ostream& out, const Result& r);

Result explore(const Options& options, const std::function<void()>& program);

struct Program {
  Options options;
  std::function<void()> run;
};

struct Survivor {
  Site site;
  std::string text;
};

// Explores the programs as they are, then with the order of each of their sites that is wanted weakened by one
// step, or the second look there dropped, one at a time. Returns the weakened ones that made none of them fail: orders
// that are stronger than needed, or programs that do not show what they are for.
std::vector<Survivor> surviving_mutants(const std::function<bool(const Site&)>& wanted,
                                        const std::vector<Program>& programs);

// ---- For programs -------------------------------------------------------------------------------

class Thread {
 public:
  explicit Thread(std::function<void()> body);
  Thread(Thread&& other) noexcept : id_(other.id_), joined_(other.joined_) { other.joined_ = true; }
  ~Thread() { join(); }
  void join();

 private:
  ThreadId id_;
  bool joined_ = false;
};

// For a program's own scheduling, where it stands for something that is ordered anyway: wait() returns once for
// each set(), and knows what the setter knew.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void set();
  void wait();

 private:
  uint32_t count_ = 0;
  Knowledge known_;
};

// For a program's own scheduling: goes on once this holds, and knows nothing new by it. It looks at plain
// data by var<T>::raw().
void await(std::function<bool()> holds);

void check(bool holds, const char* what);
[[noreturn]] void fail(const std::string& what);
[[nodiscard]] ThreadId this_thread();

// ---- For atomic.hpp and the OS port -------------------------------------------------------------

struct Step {
  Op op = Op::start;
  LocationId location = 0;
  bool has_location = false;
  bool writes = false;
  bool seq_cst = false;
  bool global = false;  // depends on everything
};

[[nodiscard]] bool running();  // inside a run
[[nodiscard]] uint64_t run_number();
Memory& memory();
// Called whenever another thread goes on; for thread_local variables of the program under test.
void set_on_switch(void (*hook)(ThreadId to));
// Called before every operation: others may go first.
void before(const Step& step);
// Called after it, for the trace.
void after(const Step& step, uint64_t value, std::memory_order order);
LocationId make_location(uint64_t initial);
void end_location(LocationId x);

// The order to use at a site: as written, or the mutant's.
std::memory_order order_at(Where where, Op op, std::memory_order written);
// True in a run of the mutant that goes without the second look that stands here.
bool recheck_dropped(Where where);

void heavy_fence(Where where = Where::current());
void pause();
// How a sleep ended. `time` only when nobody else could go on.
enum class SleepEnd : uint8_t { other_value, woken, early, time };
SleepEnd futex_sleep(LocationId x, uint32_t value, bool has_limit);
void futex_wake(LocationId x, uint32_t n);

}  // namespace model
