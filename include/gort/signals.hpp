// signals: SIGINT, SIGTERM and others as values in a channel, after Go's os/signal.
//
//     gort::chan<int> end(1);
//     gort::signals::notify(end, {SIGINT, SIGTERM});
//     const auto closer = gort::spawn([end, &listener] {  // a task: it ends before the listener does
//       (void)end.recv();
//       listener.close();
//     });
//
// Any fiber or thread may call any of this at any time, with a runtime or without. What is asked for belongs to the process, not to a
// runtime: it holds from one gort::run to the next, until stop(), reset() or ignore() ends it.
//
// Signals that can not be had this way are passed over in silence, as in Go, here and in "all signals": SIGKILL and SIGSTOP, which
// nobody can catch; SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP and SIGSYS, which say that a thread can not go on; SIGURG and SIGPROF,
// by which gort interrupts fibers and measures; 32, 33 and on musl 34, which are libc's own. A number that is no
// signal is an error: std::invalid_argument, and nothing is done.
#pragma once

#include <initializer_list>
#include <span>

#include "gort/chan.hpp"
#include "gort/export.hpp"

namespace gort::signals {

// From now on each of these signals that comes to the process is sent into ch as its number; no signals given means all. Nobody
// waits for ch: a signal that finds it full, or unbuffered without a receiver, or closed, is dropped for this channel, so give it room: 1
// is enough for who only wants to know that it was told to end. Signals of one kind that come faster than they are sent on are one, as in the
// kernel; none is lost altogether. A second call for a channel adds to its signals; several channels may get one signal.
//
// What the signal does by itself (ends the process, stops it) it does no more. A handler that the program has installed goes on being
// called, beside the channels. One that it installs later has the signal to itself, unless it calls the one that was there, or
// notify() is called again. System calls that a signal interrupts go on, where a handler with SA_RESTART lets them (signal(7)).
//
// A thread of gort's takes the signals, so that it does not matter which others block them; there is one from the first notify() to the
// last stop(), which uses no processor time while no signal comes. A fiber that waits for a signal can be woken from outside: no deadlock is
// reported meanwhile.
//
// Errors: std::invalid_argument also if ch is nil; std::system_error if the system has no thread to give, or if the program has
// taken the signal over so often that gort gives up; std::logic_error in the child of a fork whose parent had a runtime. Nothing has changed then.
GORT_API void notify(const chan<int>& ch, std::span<const int> signals);
inline void notify(const chan<int>& ch, std::initializer_list<int> signals = {}) {
  notify(ch, std::span(signals.begin(), signals.size()));
}

// Ends all that notify() has begun for ch. Signals that came before are in ch (if they found room) when it returns, later ones are not. Where no
// channel is left for a signal, what was there before notify() is back: the default, or the program's handler. Does
// nothing if there is nothing to end.
GORT_API void stop(const chan<int>& ch);

// From now on these signals do nothing, as by SIG_IGN, which programs inherit that this process starts: channels get them no more, and
// a handler of the program's is not called. No signals given means all.
//
// Errors: std::system_error if the program has taken one of them over so often that gort gives up. Nothing has changed then.
GORT_API void ignore(std::span<const int> signals);
inline void ignore(std::initializer_list<int> signals = {}) {
  ignore(std::span(signals.begin(), signals.size()));
}

// Ends all that notify() and ignore() have begun for these signals, for all channels: what was there before is back. No
// signals given means all.
GORT_API void reset(std::span<const int> signals);
inline void reset(std::initializer_list<int> signals = {}) {
  reset(std::span(signals.begin(), signals.size()));
}

// Whether the process ignores the signal, by ignore() or because it was started so: nohup(1) does that with SIGHUP, and a shell with
// SIGINT of what it starts in the background. Who does not want to undo that asks before notify().
[[nodiscard]] GORT_API bool ignored(int sig);

}  // namespace gort::signals
