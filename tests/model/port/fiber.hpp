// Fibers of programs under the checker, for the shipped park.cpp, stop.cpp and all that waits by them.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>

#include "checker/atomic.hpp"
#include "sched/g.hpp"
#include "sched/m.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

// The one runtime of a program; stands before its fibers.
class ModelWorld {
 public:
  ModelWorld();
  // Lets the time limits of these fibers be reached, on a thread of the program's own.
  static void let_time_pass(std::initializer_list<class ModelFiber*> fibers);

 private:
  Sched sched_;
};

// A fiber, on two threads of the checker: its own, and that of the M that completes its parks.
class ModelFiber {
 public:
  explicit ModelFiber(std::function<void()> body);
  ~ModelFiber() { join(); }
  void join();
  [[nodiscard]] G* g() noexcept { return &g_; }

  // For the shadow of loop.hpp and the scheduler's stand-ins.
  static ModelFiber& of(G* g) noexcept { return *static_cast<ModelFiber*>(g->payload); }
  void leave_to_far_side(void (*after)(M*, G*, void*), void* arg) noexcept;
  void resume() { resumed_.set(); }
  void reach_limits();

 private:
  void far_side();

  const std::function<void()> body_;
  G g_;
  M m_;
  P p_;
  EhGlobals eh_;
  M far_m_;
  P far_p_;
  void (*after_)(M*, G*, void*) = nullptr;
  void* after_arg_ = nullptr;
  bool over_ = false;
  model::Event left_;
  model::Event resumed_;
  std::optional<model::Thread> far_;
  std::optional<model::Thread> own_;
};

}  // namespace gort
