// The kernel of a process whose threads are the checker's: it lists and counts them, and sends them signals.
//
// Each of its calls is one step, and promises no order of its callers' memory, but that a handler sees what the sender of
// its signal saw. A thread takes its signal where the program
// says that it may, and while it waits for its turn.
#pragma once

#include "checker/checker.hpp"

namespace gort {

class ModelProcess {
 public:
  static constexpr long kWorks = 1;    // a call that returns 7
  static constexpr long kRefuses = 2;  // one that fails on the thread that makes it first
  static constexpr int kTidOfFirst = 100;

  // At the beginning of each run; the thread that calls it is the first of the process.
  static void begin();

  // The current thread is there; is no more, with its signals. Another is there.
  static void is_born();
  static void ends();
  static void makes(model::ThreadId t);
  static void wait_until_made();
  // From here on each thread is the only one that it sees: what is left is the turn.
  static void each_is_alone();
  // The next list of threads is cut short before this one; the list after that is whole.
  static void cut_list_before(model::ThreadId t);

  // The current thread takes its signal if it has one.
  static void may_take_signal();
  // Waits for a signal, or for the end of the program.
  static void wait_for_signal();
  // Until all callers are done, of which there are so many.
  static void wait_for_end(int callers);
  static void caller_is_done();

  static int calls();  // that were made, by all threads together
  static int alive();
};

}  // namespace gort
