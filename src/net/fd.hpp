// Fd: a descriptor that can be polled, shared by the fibers that use it at the same time (Go's poll.FD).
//
// Who calls it: the handles of fd.hpp and net.hpp. What it adds to the kernel's descriptor and the poller's
// record: turns (one reader and one writer at a time), a close() that never pulls the descriptor
// from under an operation, and reads that do not ask the kernel twice.
//
//   FD1  The descriptor is closed (or left open, FD5), and its poller record recycled, by whoever brings
//        the references of word_ to zero, once. The handle holds one reference until close(), every operation one,
//        every waiter for a turn one. So an operation never meets a descriptor number that belongs
//        to another.
//   FD2  kClosing is set once and stays. No operation begins after it; those under way are woken by
//        netpoll_evict(), waiters for a turn by close() itself.
//   FD3  kReadQueued (kWriteQueued) is set exactly while the queue of that side is not empty; both
//        change under lock_ only. A turn that is given up with the flag set passes to the first in
//        the queue without ever being free: first come, first served.
//   FD4  Memory is counted apart (owners_): the handle, and every call of close(). So a fiber that
//        close() has woken may destroy the handle while close() is still returning.
//   FD5  Of all who close and release, one sets kClosing first; only if that is a release the descriptor stays open. It says so
//        (kept_) before it gives up the handle's reference, so the last one out knows.
//
// When a read may wait without asking the kernel first (the same for writes with "full" for
// "empty"): descriptors are registered edge-triggered, so waiting is right only if an edge is still
// to come or is remembered in the poller's record. After EAGAIN that is always so. It is so after a
// short read too:
//
//   E1  A read from a TCP socket returns less than was asked for only when the receive queue was
//       empty at that moment. Bytes that arrive later raise a new edge, and an edge that was raised
//       before the read is remembered or was consumed by an earlier wait; both ways nothing is
//       lost. So per request a server pays for one read, not for a second one that says EAGAIN.
//   E2  What E1 does not say: that the stream goes on. If the end or an error was reported by the
//       same edge as the data, no further edge will come. The poller stores this before it marks
//       the edge, so it is visible to whoever consumed that edge; netpoll_hangup_seen() then makes
//       the next read ask. If it is reported by a later edge, that edge is remembered and ends the
//       wait.
//   E3  Requests are cut to kIoBytesMax, below the kernel's own limit, so that "less than asked
//       for" is what the socket had and not what the kernel was willing to do.
//
// E1 does not hold for accept, where every call takes one, nor for what is not a TCP socket (a terminal gives a line, an eventfd
// eight bytes): these go on until EAGAIN.
//
// Rejected: level-triggered registration (a poller shared by several Ms wakes again and again until
// the data has been read, and needs re-arming); EPOLLONESHOT (one epoll_ctl per wait); always
// reading until EAGAIN (one system call more per request: 0.3 us of 6); a mutex per direction (8
// words, and close() needs the count anyway).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/globq.hpp"
#include "sched/netpoll.hpp"
#include "sched/park.hpp"
#include "sched/park_lock.hpp"

namespace gort::net::detail {

class alignas(64) Fd {
 public:
  // How the kernel is asked to read and write.
  enum class Kind : uint8_t {
    tcp,     // a TCP socket: E1 holds
    socket,  // another one
    pipe,    // a write may raise SIGPIPE
    other,
  };

  // Takes over a non-blocking TCP socket; closes it and returns nullptr on failure (*error = errno).
  [[nodiscard]] static Fd* adopt(int fd, int* error) noexcept;
  // What a descriptor is to be when it is released.
  enum class Before : uint8_t { blocking, nonblocking };
  // Takes over any non-blocking descriptor; leaves it alone and returns nullptr on failure (*error = errno).
  [[nodiscard]] static Fd* take(int fd, Kind kind, Before before, int* error) noexcept;

  // The handle's end: closes, and gives up the handle's share of the memory.
  void destroy() noexcept;

  // FD2. Returns once the descriptor is closed. Any number of callers, also at the same time.
  void close() noexcept { (void)end(End::closed); }
  // FD5. The same, but the descriptor stays open. False: somebody else has closed or released it before.
  [[nodiscard]] bool release() noexcept { return end(End::released); }

  [[nodiscard]] bool is_open() const noexcept;
  [[nodiscard]] int number() const noexcept { return fd_; }
  [[nodiscard]] Before before() const noexcept { return before_; }

  // Operations: the result or -errno. -ETIMEDOUT: deadline; -ECANCELED: closed. They throw
  // gort::stopped. `done` counts what was moved before an error.
  [[nodiscard]] long read_some(void* to, size_t bytes);
  [[nodiscard]] long read_all(std::byte* to, size_t bytes, size_t* done);
  [[nodiscard]] long write_some(const void* from, size_t bytes);
  [[nodiscard]] long write_all(const std::byte* from, size_t bytes, size_t* done);
  [[nodiscard]] long accept();          // a non-blocking descriptor
  [[nodiscard]] long finish_connect();  // after EINPROGRESS; 0 once connected
  [[nodiscard]] int set_deadline(PollMode mode, int64_t when_ns) noexcept;

  // f(descriptor number) -> result or -errno, without waiting and with the descriptor held open.
  template <class F>
  int with(F&& f) noexcept {
    const Ref ref(*this);
    return ref.held() ? f(fd_) : kClosed;
  }

 private:
  // What is known about a direction of the socket. Owner: the holder of its turn.
  enum class Readiness : uint8_t {
    unknown,    // ask the kernel
    exhausted,  // a short read or write: E1, wait unless E2
    refused,    // EAGAIN: wait
  };

  struct Waiter : Wait {
    Fd* fd = nullptr;
    PollMode mode = PollMode::read;
    Plain<Waiter*> next = nullptr;
  };

  struct Queue {
    Plain<Waiter*> first = nullptr;
    Plain<Waiter*> last = nullptr;
    void push(Waiter* w) noexcept;
    Waiter* pop() noexcept;
    bool remove(Waiter* w) noexcept;
  };

  // The turn of one direction, for a scope.
  class Turn {
   public:
    Turn(Fd& fd, PollMode mode) : fd_(fd), mode_(mode), error_(fd.take_turn(mode)) {}
    ~Turn() {
      if (error_ == 0) fd_.pass_turn(mode_);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    [[nodiscard]] int error() const noexcept { return error_; }

   private:
    Fd& fd_;
    const PollMode mode_;
    const int error_;
  };

  // A reference, for a scope.
  class Ref {
   public:
    explicit Ref(Fd& fd) noexcept : fd_(fd), held_(fd.take_ref()) {}
    ~Ref() {
      if (held_) fd_.drop_ref();
    }
    Ref(const Ref&) = delete;
    Ref& operator=(const Ref&) = delete;
    [[nodiscard]] bool held() const noexcept { return held_; }

   private:
    Fd& fd_;
    const bool held_;
  };

  static const int kClosed;  // -ECANCELED

  // word_: two turns, two queues, closing, and the references above them.
  static constexpr uint64_t kClosing = 1;
  static constexpr uint64_t kReadTaken = 2;
  static constexpr uint64_t kWriteTaken = 4;
  static constexpr uint64_t kReadQueued = 8;
  static constexpr uint64_t kWriteQueued = 16;
  static constexpr uint64_t kRef = 32;
  static constexpr uint64_t taken_bit(PollMode m) noexcept {
    return m == PollMode::read ? kReadTaken : kWriteTaken;
  }
  static constexpr uint64_t queued_bit(PollMode m) noexcept {
    return m == PollMode::read ? kReadQueued : kWriteQueued;
  }

  Fd(int fd, Kind kind, Before before, PollDesc* poll) noexcept
      : fd_(fd), kind_(kind), before_(before), poll_(poll) {}
  ~Fd() = default;

  Plain<Readiness>& readiness(PollMode m) noexcept { return readiness_[static_cast<size_t>(m)]; }
  Queue& queue(PollMode m) noexcept GORT_REQUIRES(lock_) { return queues_[static_cast<size_t>(m)]; }

  [[nodiscard]] int take_turn(PollMode mode);  // 0 or -errno; throws gort::stopped
  [[nodiscard]] int queue_for_turn(PollMode mode);
  void pass_turn(PollMode mode) noexcept;
  void pass_turn_on(PollMode mode) noexcept;
  enum class End : uint8_t { closed, released };
  bool end(End how) noexcept;
  [[nodiscard]] bool take_ref() noexcept;
  void drop_ref() noexcept;
  void last_out() noexcept;
  void wait_until_gone() noexcept;
  static bool cancel(Wait* w) noexcept;
  static void forget_users(void* arg) noexcept;

  // Before asking the kernel: 0 when it is time to, else -errno; throws gort::stopped.
  [[nodiscard]] int prepare(PollMode mode);

  // One call of the kernel.
  [[nodiscard]] long receive(void* to, size_t bytes) const noexcept;
  [[nodiscard]] long send(const void* from, size_t bytes) const noexcept;

  template <class Call>
  long transfer(PollMode mode, size_t bytes, Call&& call);

  // What an operation touches stands in the first line.
  const int fd_;
  const Kind kind_;
  Before before_;
  Plain<Readiness> readiness_[2] = {Readiness::unknown, Readiness::unknown};
  ParkLock lock_;
  PollDesc* const poll_;
  Atomic<uint64_t> word_{kRef};
  Queue queues_[2] GORT_GUARDED_BY(lock_);
  Queue closers_ GORT_GUARDED_BY(lock_);  // those who wait for gone_
  Plain<bool> gone_ GORT_GUARDED_BY(lock_) = false;
  Plain<bool> kept_ = false;  // FD5
  Atomic<uint32_t> owners_{1};
};

}  // namespace gort::net::detail
