// Machines: Ms with a P, on which fibers that the shipped spawn.cpp has made run, from birth to
// end, on stacks of the shipped pool. A fiber whose name begins with a digit runs on the machine of
// that number, others on 0.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "checker/checker.hpp"
#include "sched/m.hpp"
#include "sched/sched.hpp"

namespace gort {

class ModelMachine {
 public:
  explicit ModelMachine(P* p);
  ~ModelMachine() { close(); }
  // Once nobody will come any more.
  void close();

  static void run_next(G* g) noexcept;

 private:
  void loop();

  M m_;
  std::deque<G*> queue_;
  model::Event arrived_;
  bool closed_ = false;
  std::optional<model::Thread> thread_;
};

// A runtime with machines. Its end is that of run(): it checks that every fiber and every slot has
// come back.
class ModelRuntime {
 public:
  explicit ModelRuntime(int machines);
  ~ModelRuntime();
  // Waits until the phase is exiting.
  void wait_for_exit() { sched_.exit_note.sleep(); }
  // For programs that end without stopping: their fibers have ended.
  void close();
  // Its timers are gone behind this, and no visitor comes in any more.
  void end();

 private:
  Sched sched_;
  std::vector<std::unique_ptr<ModelMachine>> machines_;
};

[[nodiscard]] inline bool is_born(const G* g) noexcept {
  return g->stack_top != nullptr;
}
[[nodiscard]] bool on_machine(const M* m) noexcept;
void go_on(G* g) noexcept;

}  // namespace gort
