// inbox: how a signal gets from its handler (handler.cpp) to who sends it on (notify.cpp); tells apart a signal that channels
// want from one that goes on to the program, and keeps the first until somebody takes it.
//
//   NT1  A signal is never lost: of one that is put down, put() has said yes, and a take() that begins later finds it; one that
//        it says no to is the program's. Two of a kind that nobody has taken yet are one, as in the kernel.
//   NT2  When close() has returned, put() says yes to none of its signals any more, and a take() finds all that it has said
//        yes to before. put() raises `inside`, then looks at what is wanted; close() takes the wish away, then waits until nobody is
//        inside: so either the handler sees that it is over, or who closes sees the handler (seq_cst on both sides).
//   NT3  A put() makes the helper's sleep() end, this one or the next: the signal is put down before the note is woken.
//   NT6  A signal that goes over from channels to being ignored, or back, is one or the other at each moment, and never goes on to
//        the program, where the default may end it. ignore() comes before close(), and open() before heed(); put() looks whether it
//        is ignored before and after it looks whether it is wanted, and close() waits for it in between.
//
// Everything put() does may be done in a handler, at any instruction of anybody: no lock, no memory, one system call.
//
// Rejected: a pipe or an eventfd (a descriptor that the program, or a child, may close; a queue that can be full); a signalfd, or
// sigwait() on a thread of ours (a signal then has to be blocked in every thread, the program's and those to come, and the
// programs that they exec); a queue with siginfo_t in it (it can be full, and then a signal is lost).
#pragma once

#include <cstdint>

#include "base/mem.hpp"
#include "os/os.hpp"
#include "sched/note.hpp"

namespace gort {

// What has become of a signal: somebody will get it; the program wants it ignored; it is the program's.
enum class Put : uint8_t { down, swallowed, refused };

class SignalInbox {
 public:
  // In a handler.
  [[nodiscard]] Put put(int sig) noexcept {
    const uint64_t bit = os::signal_bit(sig);
    inside_.fetch_add(1, std::memory_order_seq_cst);  // seq_cst: NT2, the count before the look
    uint64_t ignored = ignored_.load(std::memory_order_seq_cst);  // seq_cst: NT6, after the count
    const bool wanted = (wanted_.load(std::memory_order_seq_cst) & bit) != 0;  // seq_cst: NT2
    ignored |= ignored_.load(std::memory_order_relaxed);  // relaxed: behind what close() has stored
    // relaxed: who takes it comes behind the note (NT3) or behind the count (NT2).
    if (wanted) pending_.fetch_or(bit, std::memory_order_relaxed);
    // release: NT2, what we have put down. unmodelled: the checker lets a thread's changes take place in its order.
    inside_.fetch_sub(1, std::memory_order_release);
    if (!wanted) return (ignored & bit) != 0 ? Put::swallowed : Put::refused;
    note_.wake();
    return Put::down;
  }

  // By one thread at a time, these four.
  void open(uint64_t signals) noexcept {
    wanted_.fetch_or(signals, std::memory_order_relaxed);  // relaxed: heed() publishes it (NT6)
  }
  void ignore(uint64_t signals) noexcept {
    ignored_.fetch_or(signals, std::memory_order_seq_cst);  // seq_cst: NT6, before close() looks
  }
  void heed(uint64_t signals) noexcept {
    ignored_.fetch_and(~signals, std::memory_order_release);  // release: NT6, that it is wanted
  }
  void close(uint64_t signals) noexcept {
    wanted_.fetch_and(~signals, std::memory_order_seq_cst);  // seq_cst: NT2, before the look
    // seq_cst: NT2, and we learn what they have put down. A handler is a microsecond long.
    while (Mem::recheck(inside_.load(std::memory_order_seq_cst) != 0)) os::osyield();
  }
  [[nodiscard]] uint64_t wanted() const noexcept {
    return wanted_.load(std::memory_order_relaxed);  // relaxed: by who opens and closes
  }
  [[nodiscard]] uint64_t ignored() const noexcept {
    return ignored_.load(std::memory_order_relaxed);  // relaxed: as above
  }

  // All that is there. By one thread at a time, which has slept, or has closed.
  [[nodiscard]] uint64_t take() noexcept {
    return pending_.exchange(0, std::memory_order_relaxed);  // relaxed: as in put()
  }

  // The helper's: until something may be there.
  void sleep() noexcept { note_.sleep(); }
  void wake() noexcept { note_.wake(); }

  // In the child of a fork, which has none of the threads that may have been inside. What is ignored is so there, too.
  void forget() noexcept {
    // relaxed, all: there is one thread.
    wanted_.store(0, std::memory_order_relaxed);
    pending_.store(0, std::memory_order_relaxed);
    inside_.store(0, std::memory_order_relaxed);
  }

 private:
  Atomic<uint64_t> wanted_{0};
  Atomic<uint64_t> ignored_{0};
  Atomic<uint64_t> pending_{0};
  Atomic<uint32_t> inside_{0};  // handlers that may put something down
  Note note_;
};

extern constinit SignalInbox signal_inbox;

}  // namespace gort
