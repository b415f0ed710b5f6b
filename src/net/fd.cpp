#include "net/fd.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>

#include "net/sys.hpp"
#include "os/os.hpp"
#include "sched/region.hpp"
#include "sched/syscall.hpp"

namespace gort::net::detail {
namespace {

// E3. The kernel moves at most 0x7ffff000 bytes per call.
constexpr size_t kIoBytesMax = size_t{1} << 30;

// So many connections in a row may be gone before accept() says so: an error that stays must not become a
// loop that never waits.
constexpr int kGoneMax = 64;

// Of a connection that was waiting and has come to nothing: accept(2) has taken it off the queue, and asks
// its callers to go on with the next one. (It lists EOPNOTSUPP too, which a listener cannot give.)
bool peer_has_gone(int result) noexcept {
  switch (-result) {
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

}  // namespace

const int Fd::kClosed = -ECANCELED;

Fd* Fd::adopt(int fd, int* error) noexcept {
  Fd* self = take(fd, Kind::tcp, Before::blocking, error);
  if (self == nullptr) os::fd_close(fd);
  return self;
}

Fd* Fd::take(int fd, Kind kind, Before before, int* error) noexcept {
  PollDesc* poll = netpoll_open(fd, error);
  if (poll == nullptr) return nullptr;
  Fd* self = new (std::nothrow) Fd(fd, kind, before, poll);
  if (self == nullptr) {
    netpoll_close(poll);
    *error = ENOMEM;
    return nullptr;
  }
  netpoll_set_user(poll, self, &Fd::forget_users);
  return self;
}

// ---- Operations ---------------------------------------------------------------------------------

// Deadline and closing come first, also when data is there: netpoll_wait() checks them as well.
int Fd::prepare(PollMode mode) {
  Plain<Readiness>& known = readiness(mode);
  const bool wait = known == Readiness::refused ||
                    (known == Readiness::exhausted && !netpoll_hangup_seen(poll_));  // E2
  const PollResult r = wait ? netpoll_wait(poll_, mode) : netpoll_check(poll_, mode);
  known = Readiness::unknown;  // also when the wait ends otherwise: it may have taken an edge (P1)
  switch (r) {
    case PollResult::ready:
      return 0;
    case PollResult::timeout:
      return -ETIMEDOUT;
    case PollResult::closing:
      return kClosed;
    case PollResult::refused:
      return -netpoll_refusal(poll_);
    case PollResult::stopped:
      break;
  }
  deliver_stop();
}

long Fd::receive(void* to, size_t bytes) const noexcept {
  return kind_ <= Kind::socket ? os::sock_recv(fd_, to, bytes) : os::fd_read(fd_, to, bytes);
}

long Fd::send(const void* from, size_t bytes) const noexcept {
  switch (kind_) {
    case Kind::tcp:
    case Kind::socket:
      return os::sock_send(fd_, from, bytes);
    case Kind::pipe:
      return os::pipe_write(fd_, from, bytes);
    case Kind::other:
      break;
  }
  return os::fd_write(fd_, from, bytes);
}

// One read or write: waits as often as it takes. The turn is held.
template <class Call>
long Fd::transfer(PollMode mode, size_t bytes, Call&& call) {
  bytes = std::min(bytes, kIoBytesMax);
  for (;;) {
    if (const int error = prepare(mode); error != 0) return error;
    const long n = call(bytes);
    if (n == -EAGAIN) {
      readiness(mode) = Readiness::refused;
    } else if (n != -EINTR) {
      // E1
      if (n > 0 && static_cast<size_t>(n) < bytes && kind_ == Kind::tcp)
        readiness(mode) = Readiness::exhausted;
      return n;
    }
  }
}

long Fd::read_some(void* to, size_t bytes) {
  const Region in;
  const Turn turn(*this, PollMode::read);
  if (turn.error() != 0) return turn.error();
  // Zero bytes must not look like the end of the stream, nor wait.
  if (bytes == 0)
    return netpoll_check(poll_, PollMode::read) == PollResult::timeout ? -ETIMEDOUT : 0;
  return transfer(PollMode::read, bytes, [&](size_t n) { return receive(to, n); });
}

long Fd::read_all(std::byte* to, size_t bytes, size_t* done) {
  const Region in;
  const Turn turn(*this, PollMode::read);
  if (turn.error() != 0) return turn.error();
  while (*done < bytes) {
    const long n = transfer(PollMode::read, bytes - *done,
                            [&](size_t room) { return receive(to + *done, room); });
    if (n <= 0) return n;
    *done += static_cast<size_t>(n);
  }
  return 0;
}

long Fd::write_some(const void* from, size_t bytes) {
  const Region in;
  const Turn turn(*this, PollMode::write);
  if (turn.error() != 0) return turn.error();
  if (bytes == 0) {
    return netpoll_check(poll_, PollMode::write) == PollResult::timeout ? -ETIMEDOUT : 0;
  }
  return transfer(PollMode::write, bytes, [&](size_t n) { return send(from, n); });
}

long Fd::write_all(const std::byte* from, size_t bytes, size_t* done) {
  const Region in;
  const Turn turn(*this, PollMode::write);
  if (turn.error() != 0) return turn.error();
  while (*done < bytes) {
    const long n = transfer(PollMode::write, bytes - *done,
                            [&](size_t left) { return send(from + *done, left); });
    if (n < 0) return n;
    *done += static_cast<size_t>(n);
  }
  return 0;
}

long Fd::accept() {
  const Region in;
  const Turn turn(*this, PollMode::read);
  if (turn.error() != 0) return turn.error();
  for (int gone = 0;;) {
    if (const int error = prepare(PollMode::read); error != 0) return error;
    const int fd = sys::accept(fd_);
    if (fd == -EAGAIN) {
      readiness(PollMode::read) = Readiness::refused;
    } else if (fd != -EINTR && (!peer_has_gone(fd) || ++gone == kGoneMax)) {
      return fd;
    }
  }
}

long Fd::finish_connect() {
  const Region in;
  const Turn turn(*this, PollMode::write);
  if (turn.error() != 0) return turn.error();
  for (;;) {
    readiness(PollMode::write) = Readiness::refused;
    if (const int error = prepare(PollMode::write); error != 0) return error;
    int error = 0;
    if (const int rc = sys::get_option(fd_, SOL_SOCKET, SO_ERROR, &error); rc != 0) return rc;
    if (error != 0) return -error;
    // A wait may end without cause; a socket that has no peer is not connected yet.
    sockaddr_storage peer;
    socklen_t bytes = sizeof peer;
    const int rc = sys::remote_address(fd_, reinterpret_cast<sockaddr*>(&peer), &bytes);
    if (rc != -ENOTCONN) return rc;
  }
}

int Fd::set_deadline(PollMode mode, int64_t when_ns) noexcept {
  const Region in;
  const Ref ref(*this);
  if (!ref.held()) return kClosed;
  netpoll_set_deadline(poll_, mode, when_ns);
  return 0;
}

// ---- Turns --------------------------------------------------------------------------------------

int Fd::take_turn(PollMode mode) {
  // relaxed: the exchange below checks it again.
  uint64_t word = word_.load(std::memory_order_relaxed);
  while ((word & (kClosing | taken_bit(mode))) == 0) {
    // acquire: pairs with pass_turn(); learns the side's readiness from the holder before.
    if (word_.compare_exchange_weak(word, (word | taken_bit(mode)) + kRef,
                                    std::memory_order_acquire, std::memory_order_relaxed)) {
      return 0;
    }
  }
  return (word & kClosing) != 0 ? kClosed : queue_for_turn(mode);
}

int Fd::queue_for_turn(PollMode mode) {
  if (lacks_p()) reenter_from_blocking();  // R3
  if (stop_pending()) deliver_stop();
  Waiter w;
  w.fd = this;
  w.mode = mode;
  w.reason = mode == PollMode::read ? WaitReason::net_read : WaitReason::net_write;
  w.lock = &lock_;
  // A wait in a destructor during unwinding does not throw.
  w.cancel = std::uncaught_exceptions() == 0 ? &Fd::cancel : nullptr;
  lock_.lock();
  uint64_t word = word_.load(std::memory_order_relaxed);  // relaxed: checked by the exchanges
  for (;;) {
    if ((word & kClosing) != 0) {
      lock_.unlock();
      return kClosed;
    }
    const bool taken = (word & taken_bit(mode)) != 0;
    const uint64_t bit = taken ? queued_bit(mode) : taken_bit(mode);
    // acquire: as in take_turn().
    if (word_.compare_exchange_weak(word, (word | bit) + kRef, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      if (taken) break;
      lock_.unlock();
      return 0;
    }
  }
  queue(mode).push(&w);  // FD3
  lock_.released_by_park();
  switch (park(w)) {
    case WakeCause::notified:  // the turn was passed to us; our reference now is the operation's
      return 0;
    case WakeCause::stopped:
      drop_ref();
      deliver_stop();
    default:
      drop_ref();
      return kClosed;
  }
}

void Fd::pass_turn(PollMode mode) noexcept {
  const Region in;
  uint64_t word = word_.load(std::memory_order_relaxed);  // relaxed: checked by the exchange
  do {
    if ((word & queued_bit(mode)) != 0) return pass_turn_on(mode);
    // release: publishes the side's readiness to the next holder, and our last use of the
    // descriptor to whoever closes it; acquire: if that is us, learns the same from the others
    // (FD1).
  } while (!word_.compare_exchange_weak(word, (word & ~taken_bit(mode)) - kRef,
                                        std::memory_order_acq_rel, std::memory_order_relaxed));
  if (word < 2 * kRef) last_out();
}

void Fd::pass_turn_on(PollMode mode) noexcept {
  lock_.lock();
  Queue& waiting = queue(mode);
  Waiter* w = waiting.pop();
  // acq_rel: as in pass_turn(); nobody but us can change the flag (FD3).
  if (w == nullptr) {
    const uint64_t before = word_.fetch_sub(taken_bit(mode) + kRef, std::memory_order_acq_rel);
    lock_.unlock();
    if (before < 2 * kRef) last_out();
    return;
  }
  // relaxed: FD3, under the lock.
  if (waiting.first == nullptr) word_.fetch_and(~queued_bit(mode), std::memory_order_relaxed);
  G* g = w->g;
  w->cause = WakeCause::notified;
  word_.fetch_sub(
      kRef,
      std::memory_order_relaxed);  // relaxed: what we did goes with the turn, and w has one left
  lock_.unlock();
  ready(g);
}

// Runs on any thread, for a stop request; the Waiter's reference keeps us alive.
bool Fd::cancel(Wait* wait) noexcept {
  auto* w = static_cast<Waiter*>(wait);
  Fd& self = *w->fd;
  LockGuard guard(self.lock_);
  Queue& waiting = self.queue(w->mode);
  if (!waiting.remove(w)) return false;
  // relaxed: FD3, under the lock.
  if (waiting.first == nullptr) {
    self.word_.fetch_and(~queued_bit(w->mode), std::memory_order_relaxed);
  }
  return true;
}

// ---- References and closing ---------------------------------------------------------------------

bool Fd::take_ref() noexcept {
  uint64_t word = word_.load(std::memory_order_relaxed);  // relaxed: checked by the exchange
  while ((word & kClosing) == 0) {
    // relaxed: a reference gives no right to what a turn protects.
    if (word_.compare_exchange_weak(word, word + kRef, std::memory_order_relaxed,
                                    std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

void Fd::drop_ref() noexcept {
  const Region in;
  // acq_rel: as in pass_turn().
  if (word_.fetch_sub(kRef, std::memory_order_acq_rel) < 2 * kRef) last_out();
}

// FD1. Nothing of *this is touched after the lock has been released.
void Fd::last_out() noexcept {
  netpoll_close(poll_);
  if (!kept_) os::fd_close(fd_);
  GList woken;
  lock_.lock();
  gone_ = true;
  while (Waiter* w = closers_.pop()) woken.push_back(w->g);
  lock_.unlock();
  if (!woken.empty()) ready_list(woken);
}

bool Fd::is_open() const noexcept {
  // relaxed: the answer may be out of date at once.
  return (word_.load(std::memory_order_relaxed) & kClosing) == 0;
}

bool Fd::end(End how) noexcept {
  Region in;
  owners_.fetch_add(1, std::memory_order_relaxed);  // relaxed: FD4, the handle keeps us alive now
  // relaxed: it only decides who evicts; those under way hear of it by locks and wake-ups.
  const bool first = (word_.fetch_or(kClosing, std::memory_order_relaxed) & kClosing) == 0;
  if (first) {
    kept_ = how == End::released;
    // What was adopted may be another process's as well, whose connection would be shut down.
    netpoll_evict(poll_, kept_ || kind_ != Kind::tcp ? Evict::leaves_open : Evict::closes);
    GList woken;
    lock_.lock();
    for (const PollMode mode : {PollMode::read, PollMode::write}) {
      while (Waiter* w = queue(mode).pop()) {
        w->cause = WakeCause::closed;
        woken.push_back(w->g);
      }
    }
    word_.fetch_and(~(kReadQueued | kWriteQueued), std::memory_order_relaxed);  // relaxed: FD3
    lock_.unlock();
    if (!woken.empty()) ready_list(woken);
    drop_ref();
  }
  wait_until_gone();
  in.leave();  // RG4
  // acq_rel: the last owner's delete comes after everybody's last access.
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  return first;
}

void Fd::wait_until_gone() noexcept {
  Waiter w;
  w.reason = WaitReason::net_read;
  w.lock = &lock_;
  lock_.lock();
  if (!gone_ && lacks_p()) {  // R3
    lock_.unlock();
    reenter_from_blocking();
    lock_.lock();
  }
  if (gone_) {
    lock_.unlock();
    return;
  }
  closers_.push(&w);
  lock_.released_by_park();
  (void)park(w);
}

void Fd::destroy() noexcept {
  close();
  // acq_rel: the delete comes after everybody's last access, and this one is ours. unmodelled: the checker takes no access
  // to an atomic for one to the memory that is given back.
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): close() gives back what it has taken; this one is the handle's
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

// FK4: what is left is the handle's reference. A close() that was under way has nobody to end it but us. There is one thread, so
// relaxed, all.
void Fd::forget_users(void* arg) noexcept GORT_NO_THREAD_SAFETY_ANALYSIS {
  Fd& self = *static_cast<Fd*>(arg);
  self.before_ = Before::nonblocking;  // FK3: the parent has what was opened, too, and goes on
  const uint64_t word = self.word_.load(std::memory_order_relaxed);  // relaxed: as above
  if (self.lock_.held()) new (&self.lock_) ParkLock;
  // A fork does not stop the parent's threads while it copies page after page: an end may be seen here, and not in the record.
  if (word == kRef || self.gone_) return;
  for (const PollMode mode : {PollMode::read, PollMode::write}) {
    self.queue(mode) = {};
    self.readiness(mode) = Readiness::unknown;
  }
  self.closers_ = {};
  self.owners_.store(1, std::memory_order_relaxed);  // relaxed: as above
  const bool closing = (word & kClosing) != 0;
  self.word_.store(closing ? kClosing : kRef, std::memory_order_relaxed);  // relaxed: as above
  if (closing) self.last_out();
}

// ---- Queue --------------------------------------------------------------------------------------

void Fd::Queue::push(Waiter* w) noexcept {
  w->next = nullptr;
  (last == nullptr ? first : last->next) = w;
  last = w;
}

Fd::Waiter* Fd::Queue::pop() noexcept {
  Waiter* w = first;
  if (w != nullptr) {
    first = w->next;
    if (first == nullptr) last = nullptr;
  }
  return w;
}

bool Fd::Queue::remove(Waiter* wanted) noexcept {
  Waiter* before = nullptr;
  for (Waiter* w = first; w != nullptr; before = w, w = w->next) {
    if (w != wanted) continue;
    (before == nullptr ? first : before->next) = w->next;
    if (last == w) last = before;
    return true;
  }
  return false;
}

}  // namespace gort::net::detail
