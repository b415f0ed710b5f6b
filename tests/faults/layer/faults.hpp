// faults: a kernel that refuses. A layer between gort and Linux that makes chosen calls fail, return
// early, move less than they could, or come late.
//
// Linked, never compiled in: an executable is linked against the shipped objects with the linker's
// --wrap for the names in tests/faults/layer/wrapped.txt. References to `mmap` then lead to
// __wrap_mmap (wrap_libc.cpp), which asks decide() and goes on to the real one, or does not. While
// nothing is armed the layer only passes on.
//
//     faults::Armed armed({{Call::map, faults::nth(3), faults::fail(ENOMEM)}});
//     ...
//     EXPECT_EQ(armed.fired(), 1U);   // a test in which nothing has failed has shown nothing
//
//   FA1  A rule is fixed while it is armed and never freed, so that a thread that is still in a
//        call when the test disarms reads nothing that has gone.
//   FA2  The layer takes no lock, allocates nothing and leaves errno alone where the real call does:
//        it runs where the real calls run, under locks of the runtime and of libc.
//   FA3  Faults stay within what Linux may do. A shortened read of a socket is followed by a new
//        edge, as if the bytes had come one by one (E1 in src/net/fd.hpp); an accept that fails for
//        the peer's sake takes the connection off the queue; close() has closed although it says
//        EINTR; a connect that was interrupted goes on.
//   FA4  What a run does depends on the seed and on the order of the calls only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace gort::faults {

// The places where a fault can be put.
enum class Call : uint8_t {
  thread,        // clone, pthread_create
  map,           // mmap
  unmap,         // munmap
  protect,       // mprotect
  guard,         // madvise and process_madvise with MADV_GUARD_INSTALL
  discard,       // madvise with anything else
  mincore,       // mincore
  timer_create,  // not used by the runtime yet
  epoll_create,  // epoll_create1
  epoll_add,     // epoll_ctl(ADD)
  epoll_wait,    // epoll_pwait2, epoll_wait
  eventfd,       // eventfd
  pipe,          // pipe2
  futex_wait,    // futex(WAIT)
  futex_wake,    // futex(WAKE)
  membarrier,    // membarrier
  read,          // read
  write,         // write
  say,           // write to the standard streams
  close,         // close
  recv,          // recvfrom, recv
  send,          // sendto, send
  accept,        // accept4
  socket,        // socket
  bind,          // bind
  listen,        // listen
  connect,       // connect
  set_option,    // setsockopt
  get_option,    // getsockopt
  address,       // getsockname, getpeername
  poll,          // ppoll
  affinity,      // sched_getaffinity
  place,         // sched_setaffinity
  open,          // openat: files of /proc and /sys
  pread,         // pread64
  random,        // getrandom
  limit,         // prlimit64
  prctl,         // prctl: timer slack
  other,         // no rule can name it
};
inline constexpr size_t kCalls = static_cast<size_t>(Call::other) + 1;
[[nodiscard]] const char* name_of(Call c) noexcept;

// What happens to the call.
struct Fault {
  enum class Kind : uint8_t {
    none,      // the call is made (with delays, perhaps)
    error,     // it is not made, or its effect is as FA3 says; `value` is the errno
    early,     // it is not made; `value` is the result
    shortened  // it is made for at most `value` bytes
  };
  Kind kind = Kind::none;
  long value = 0;
  int64_t before_ns = 0;  // sleeps before the call, or in place of it
  int64_t after_ns = 0;   // and after it
};
[[nodiscard]] constexpr Fault fail(int error) noexcept {
  return {.kind = Fault::Kind::error, .value = error};
}
[[nodiscard]] constexpr Fault early(long result, int64_t before_ns = 0) noexcept {
  return {.kind = Fault::Kind::early, .value = result, .before_ns = before_ns};
}
[[nodiscard]] constexpr Fault shorten(long bytes) noexcept {
  return {.kind = Fault::Kind::shortened, .value = bytes};
}
[[nodiscard]] constexpr Fault late(int64_t before_ns, int64_t after_ns) noexcept {
  return {.before_ns = before_ns, .after_ns = after_ns};
}

// Which calls: those with the numbers first, first + step, ..., at most `times` of them; of these each
// with the probability of per_mille.
struct When {
  uint64_t first = 1;
  uint64_t step = 1;
  uint64_t times = UINT64_MAX;
  uint32_t per_mille = 1000;
};
[[nodiscard]] constexpr When nth(uint64_t n) noexcept {
  return {.first = n, .times = 1};
}
[[nodiscard]] constexpr When from(uint64_t n) noexcept {
  return {.first = n};
}
[[nodiscard]] constexpr When always() noexcept {
  return {};
}
[[nodiscard]] constexpr When every(uint64_t n) noexcept {
  return {.first = n, .step = n};
}
[[nodiscard]] constexpr When chance(uint32_t per_mille) noexcept {
  return {.per_mille = per_mille};
}

struct Rule {
  Call call = Call::other;
  When when;
  Fault fault;
};

inline constexpr size_t kRulesMax = 24;

// Rules and what they have done so far.
struct Plan {
  struct Armed {
    Rule rule;
    std::atomic<uint64_t> fired{0};
  };
  Armed rules[kRulesMax];
  size_t count = 0;
  uint64_t seed = 0;
  std::atomic<uint64_t> seen[kCalls] = {};
  Plan* next = nullptr;
};

// Arms rules for a scope. One at a time. Of several rules for one call the first that fires counts.
class Armed {
 public:
  explicit Armed(std::initializer_list<Rule> rules, uint64_t seed = 1) noexcept
      : Armed(rules.begin(), rules.size(), seed) {}
  Armed(const Rule* rules, size_t count, uint64_t seed) noexcept;
  ~Armed() { disarm(); }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

  void disarm() noexcept;
  // How often rule `i` has fired.
  [[nodiscard]] uint64_t fired(size_t i = 0) const noexcept;
  // How many calls of a kind came by, with a fault or without.
  [[nodiscard]] uint64_t seen(Call c) const noexcept;
  // "map nth=3 error=12 fired=1 of 17", one line per rule.
  [[nodiscard]] std::string report() const;

 private:
  Plan* plan_;
};

// ---- For the wrappers ---------------------------------------------------------------------------

// Asked once per call. May sleep (Fault::before_ns); after_ns is the wrapper's to sleep.
[[nodiscard]] Fault decide(Call c) noexcept;
void sleep_ns(int64_t ns) noexcept;

// A descriptor's registration, so that a new edge can be raised after a shortened call (FA3).
void note_registration(int epfd, int fd, uint32_t events, uint64_t data) noexcept;
void forget_registration(int fd) noexcept;
void raise_edge(int fd) noexcept;

}  // namespace gort::faults
