// chain: our handlers stand before those of the program; what is not ours goes on to them.
//
// Called by signal.cpp at the start and the end of a runtime and by signal_check() in between, by notify.cpp for other signals
// than those, and by the handlers.
//
// A program that puts its handler over ours may have saved ours, to call it or to restore it. So if we come back before
// it, we must not be who it knows: it would call us, and we it, for ever. Ours is therefore kLevels functions, which differ
// in nothing but their level, and each level knows the one action that it was put before:
//
//     kernel -> level 1 -> the program's later handler -> (saved by it) level 0 -> what was there at the start
//
//   CH1  A level's entry is in the kernel, or saved by the program, only with the level's action in its cell; and the cell
//        is not given to another action while a program that still has its handler installed may have saved the entry.
//        So what the program sees is what it would see without us.
//   CH2  Between our look and our change the program may have made one: the kernel tells what each change has replaced,
//        and the last of the program's wins (replace_action). One thing can not be told: between two of our calls that give
//        back, the program puts the very action that we have put a moment ago.
//   CH3  A cell is read in handlers, at any time, while it is written by one thread: its reader sees one action whole.
//   CH4  An action with SA_RESETHAND is found by one signal; later ones find the default.
//
// The kernel's table belongs to the process and outlives Sched, and handlers find it without one: so this is global.
//
// Rejected: one handler and one saved action (the endless call above); interposing sigaction() (plain system calls, static
// programs, and dlopen() pass it by); leaving the signal to who took it (fibers that never give way, silently).
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>

#include "base/mem.hpp"
#include "os/os.hpp"
#include "signal/sigtab.hpp"

namespace gort {

// Deeper than programs go: each level is one more part of a program that took the signal over while we had it.
inline constexpr int kLevels = 8;

// But for what the kernel adds.
[[nodiscard]] bool same(const os::SignalAction& a, const os::SignalAction& b) noexcept;

// CH3.
class ActionCell {
 public:
  // One thread at a time.
  void set(const os::SignalAction& action) noexcept;
  // By who sets it: if it is this action, it loses SA_ONSTACK.
  void drop_stack_flag(const os::SignalAction& put) noexcept;
  [[nodiscard]] os::SignalAction get() const noexcept;  // as it is now (CH4)
  // For a signal that has come: CH4.
  [[nodiscard]] os::SignalAction use() noexcept;

 private:
  struct Slot {
    Atomic<SignalHandler> handler{nullptr};
    Atomic<unsigned long> flags{0};
    Atomic<void (*)()> restorer{nullptr};
    Atomic<uint64_t> mask{0};
    Atomic<bool> used{false};
  };
  // What slot `n % 2` holds; n is told if it was whole.
  [[nodiscard]] bool read(uint32_t n, os::SignalAction& out) const noexcept;

  Atomic<uint32_t> generation_{0};
  Slot slots_[2];  // the one of the generation, and the one that is written next
};

// A signal as a handler has got it.
struct Arrived {
  int sig;
  int level;
  void* info;     // siginfo_t
  void* context;  // ucontext_t
};

// What was blocked when it came.
[[nodiscard]] uint64_t interrupted_mask(const Arrived& signal) noexcept;

// A thread of gort's on which the program's handlers run: what it blocks is no business of theirs, and of what they exec().
struct Host {
  Atomic<int> tid{0};
  Atomic<uint64_t> mask{0};  // of who has made it
};
extern constinit Host signals_host;

// Puts our handler before whatever is there, again if need be. False: all levels are used up, and the signal is theirs.
bool take_signal(int sig) noexcept;
// The same with SIG_IGN in place of our handler, which take_signal() may follow. By signals::ignore() only: what gort itself uses is
// not ignored.
bool take_signal_ignored(int sig) noexcept;
// What is behind us, the program's latest, is back.
void give_back(int sig) noexcept;
[[nodiscard]] bool is_ours(SignalHandler handler) noexcept;

// Adds SA_ONSTACK to a handler that somebody else has installed: on a fiber's stack there may be no room for it.
void setsigstack(int sig) noexcept;
// Takes it off again, where it was added and nobody has changed anything since, also of what stands behind our handlers.
void unsetsigstacks() noexcept;

// Calls the handler behind ours as the kernel would: with its arguments, its mask, once if it is to be reset. False: there is
// none, and *instead is SIG_DFL or SIG_IGN. Not noexcept, as none of our handlers is: who throws or ends his thread in his
// handler passes through.
bool call_chained(const Arrived& signal, SignalHandler* instead);

// The rule by which it does so, for an action that has a handler.
void call_as_the_kernel(const os::SignalAction& action, const Arrived& signal);

// For signals that are not gort's, and no faults of this thread: the handler behind ours, or what happens without one.
void forward(const Arrived& signal);

}  // namespace gort
