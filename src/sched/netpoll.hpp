// netpoll: fibers wait for descriptors; one epoll instance per runtime tells when they are ready.
//
// Called by src/net and by gort::fd. Descriptors are non-blocking and registered edge-triggered
// once, for both directions. Each direction has one waiter at a time (R or W); the caller
// serialises.
//
// The life of an operation:
//     while ((n = read(fd, ...)) == -EAGAIN) { r = netpoll_wait(pd, read); if (r != ready) return
//     r; }
// An edge that came before the wait is remembered in the direction's word (Go's pollDesc rg/wg), so
// that it can not be lost; a wait may end `ready` without data (spurious), so callers loop.
#pragma once

#include <cstdint>

namespace gort {

struct PollDesc;  // never freed while its runtime lives; recycled by netpoll_close

enum class PollMode : uint8_t { read = 0, write = 1 };

// How a wait ended.
enum class PollResult : uint8_t {
  ready,    // try the operation again
  timeout,  // the direction's deadline has passed (sticky until it is moved)
  closing,  // netpoll_evict() was called: the descriptor is being closed by somebody else
  stopped,  // request_stop() reached this fiber: the caller cleans up and throws gort::stopped
  refused,  // the kernel does not register the descriptor: netpoll_refusal(); the next wait tries again
};

// Makes a descriptor record for a non-blocking fd. It is registered with the poller of the running
// runtime at the first wait of a fiber, which ends `refused` if the kernel does not have it. nullptr
// with *error = ENOMEM. May be called with no runtime alive and from any thread.
PollDesc* netpoll_open(int fd, int* error) noexcept;

// What is called with `user` in the child of a fork, on its only thread, while the record is open: threads and fibers that used
// the descriptor at the fork are not there (FK4 in fork.hpp). By who has just opened the record, before anybody else knows it.
using ForgetUsers = void (*)(void* user) noexcept;
void netpoll_set_user(PollDesc* pd, void* user, ForgetUsers forget) noexcept;

// Waits until the direction may have become ready. From a fiber it parks; from a foreign thread it
// blocks the thread. If an edge was remembered it is consumed and the call returns at once.
[[nodiscard]] PollResult netpoll_wait(PollDesc* pd, PollMode mode) noexcept;

// Why the descriptor was refused: an errno (ENOMEM; ENOSPC: /proc/sys/fs/epoll/max_user_watches; EPERM:
// not pollable).
[[nodiscard]] int netpoll_refusal(const PollDesc* pd) noexcept;

// Checks before an operation: closing and deadline, without waiting. `ready` means: go ahead.
[[nodiscard]] PollResult netpoll_check(PollDesc* pd, PollMode mode) noexcept;

// True if the peer's end (RDHUP, HUP or ERR) has been reported: after it a short read says nothing
// about what is left, so the next read must ask the kernel instead of waiting for an edge.
[[nodiscard]] bool netpoll_hangup_seen(const PollDesc* pd) noexcept;

// Sets or moves the deadline of a direction (nanotime() ns; INT64_MAX: none). Effective on a wait
// that is under way. A deadline in the past ends the wait at once.
void netpoll_set_deadline(PollDesc* pd, PollMode mode, int64_t when_ns) noexcept;

// First half of closing: every present and future wait ends with `closing`. The fd stays open, so
// its number can not be reused while an operation still holds it. Idempotent. A foreign thread that waits hears of it by a shutdown of
// the socket; if what was opened is to stay usable, or is no socket, at its next look, in kForeignLookNs at most.
enum class Evict : uint8_t { closes, leaves_open };
void netpoll_evict(PollDesc* pd, Evict how = Evict::closes) noexcept;

// Second half: deregisters and recycles the record. The caller guarantees that no operation is left
// (net counts references) and closes the fd afterwards.
void netpoll_close(PollDesc* pd) noexcept;

}  // namespace gort
