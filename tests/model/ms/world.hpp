// A world of Ms under the checker: the shipped find.cpp, idle.cpp, sysmon.cpp, deadlock.cpp, park.cpp, netpoll.cpp,
// timer.cpp and syscall.cpp, with Ms that go round and sleep, and a kernel that knows futexes, epoll and an eventfd.
//
// While a fiber runs, its thread of the checker is its M, and the M's own thread waits; so a fiber goes on
// wherever it is found. Without start_sysmon() there is none: what it would find 10 ms later counts as lost.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "checker/atomic.hpp"
#include "port/port.hpp"
#include "sched/g.hpp"
#include "sched/m.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

class MsFiber {
 public:
  // A fiber that waits: a thread of its own.
  explicit MsFiber(std::function<void()> body);
  // One that runs to its end at once, on the thread of the M that finds it.
  struct Short {};
  MsFiber(Short, std::function<void()> body);

  [[nodiscard]] G* g() noexcept { return &g_; }
  [[nodiscard]] bool over() const noexcept { return over_; }
  // Its birth is counted, and its end will be.
  void set_counted() noexcept { counted_ = true; }
  // For a program's other threads: waits for its end.
  void join();

  // For the loop.
  static MsFiber& of(G* g) noexcept { return *static_cast<MsFiber*>(g->payload); }
  void run_on(M* m);  // until it leaves
  M* leave(M* m);     // returns on the M that has found it again

 private:
  const std::function<void()> body_;
  G g_;
  M* m_ = nullptr;
  bool over_ = false;
  bool counted_ = false;
  model::Event resumed_;
  model::Event left_;
  model::Event ended_;
  std::optional<model::Thread> own_;
};

class MsWorld {
 public:
  // Ps, and the same number of Ms, each of which starts with one.
  explicit MsWorld(int procs);
  ~MsWorld();

  // Puts a fiber that is ready into a P's queue, before start().
  void put(int proc, MsFiber& fiber);
  // P::next instead.
  void put_next(int proc, MsFiber& fiber);
  void start();
  // sysmon, whose first turn is due at once; what it does with the time that passes, sooner or later.
  void start_sysmon();
  // Behind start(): one more M, which is idle.
  void add_spare();
  // In place of start(): no M is there, and each P is idle.
  void begin_idle();
  // A fiber that was born before start(), for the counts.
  void born(MsFiber& fiber);
  // From here on Ms look for deadlocks (main_runs is 1), and sysmon. `report` is called where the process would end;
  // it returns.
  void look_for_deadlocks(std::function<void()> report);
  // The program's own thread is the M of the first P from here on, in place of one that goes round.
  void start_as_first();
  // What sysmon does for descriptors, on the program's own thread.
  static void poll();
  // The end of run(): once the fibers have ended.
  void finish();
  // The same where the run has ended by itself: the phase is exiting.
  void finish_ended();
  // What the last fiber's end does once it has been counted (census.cpp).
  static void end_run();

  // For newosproc() and mdestroy(): the thread of one more M.
  static size_t start_thread(void (*start)(void*), void* arg);
  static void join_thread(size_t which);
  static bool has_ended(size_t which);
  static void dead();

 private:
  void start_m(M* m, P* p);
  static constexpr int kProcsMax = 3;
  const int nprocs_;
  Sched sched_;
  P procs_[kProcsMax];
  M ms_[kProcsMax];
  std::vector<model::Thread> threads_;
  std::vector<bool> ended_;  // of each
  bool with_sysmon_ = false;
  std::function<void()> report_;
};

// For a fiber: what blocking() does before and behind the program's own function.
void begin_blocking();
void end_blocking();

// A thread of the process that is no M, and ends.
class ForeignThread {
 public:
  explicit ForeignThread(std::function<void()> body);
  void join() { thread_.join(); }

 private:
  model::Thread thread_;
};

// The kernel's side.
struct ModelKernel {
  static void begin();
  // An edge of a descriptor (1 to 7), with epoll's bits.
  static void event(int fd, uint32_t events);
  static int64_t now_ns();
  // Time passes while threads are at work.
  static void pass_until(int64_t ns);
  // The next so many threads can not be made.
  static void refuse_threads(int n);
  // So many processors there are from now on.
  static void processors(int n);
  // How many have been made and not yet released.
  static int threads();
  // How often sysmon has looked at the clock: at least once in each of its turns.
  static uint64_t looks_of_sysmon();
  // One more thread of the process, which newosproc() has not made, or one less.
  static void thread_begins();
  static void thread_ends();
};

}  // namespace gort
