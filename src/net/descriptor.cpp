// descriptor: the public handle of any descriptor over an Fd, and pipes.
#include <sys/stat.h>

#include <cerrno>

#include "gort/fd.hpp"
#include "net/handle.hpp"
#include "net/throw.hpp"
#include "os/os.hpp"

namespace gort {

using net::detail::Fd;
using net::detail::kNoSocket;
using net::detail::or_throw;
using net::detail::settle;

fd& fd::operator=(fd&& other) noexcept {
  if (this != &other) {
    if (fd_ != nullptr) fd_->destroy();
    fd_ = std::exchange(other.fd_, nullptr);
  }
  return *this;
}

fd::~fd() {
  if (fd_ != nullptr) fd_->destroy();
}

// ---- Taking and giving ------------------------------------------------------------------------------

namespace {

// What has no answer for poll(2) would only fail when somebody waits.
bool can_be_polled(int type) noexcept {
  return type != S_IFREG && type != S_IFDIR && type != S_IFBLK;
}

Fd::Kind kind_of(int type) noexcept {
  if (type == S_IFSOCK) return Fd::Kind::socket;
  return type == S_IFIFO ? Fd::Kind::pipe : Fd::Kind::other;
}

// nullptr: it has failed, and the number is as it was.
Fd* take(int number, int* error) noexcept {
  const int type = net::sys::file_type(number);
  if (type < 0 || !can_be_polled(type)) {
    *error = type < 0 ? -type : EPERM;
    return nullptr;
  }
  const int changed = net::sys::make_nonblocking(number);
  if (changed < 0) {
    *error = -changed;
    return nullptr;
  }
  const Fd::Before before = changed != 0 ? Fd::Before::blocking : Fd::Before::nonblocking;
  Fd* taken = Fd::take(number, kind_of(type), before, error);
  if (taken == nullptr && changed != 0) (void)net::sys::make_blocking(number);
  return taken;
}

}  // namespace

fd fd::adopt(int number, std::error_code& ec) {
  int error = 0;
  Fd* taken = take(number, &error);
  (void)settle(-error, ec);
  return fd(taken);
}

fd fd::adopt(int number) {
  return or_throw("gort: adopt", [&](std::error_code& ec) { return adopt(number, ec); });
}

int fd::release(std::error_code& ec) {
  const int number = fd_ != nullptr ? fd_->number() : -1;
  const bool blocks = fd_ != nullptr && fd_->before() == Fd::Before::blocking;
  const bool released = fd_ != nullptr && fd_->release();
  // FD4: whom that has woken may have destroyed *this.
  (void)settle(released ? 0 : number < 0 ? kNoSocket : -ECANCELED, ec);
  if (released && blocks) (void)net::sys::make_blocking(number);
  return released ? number : -1;
}

int fd::release() {
  return or_throw("gort: release", [&](std::error_code& ec) { return release(ec); });
}

pipe_ends pipe(std::error_code& ec) {
  int numbers[2];
  const int made = os::pipe2(numbers, 0);
  (void)settle(made, ec);
  if (made < 0) return {};
  int error = 0;
  fd ends[2];
  for (int i = 0; i < 2; ++i) {
    ends[i] = fd(Fd::take(numbers[i], Fd::Kind::pipe, Fd::Before::blocking, &error));
  }
  if (error == 0) return {std::move(ends[0]), std::move(ends[1])};
  for (int i = 0; i < 2; ++i) {
    if (!ends[i].is_open()) os::fd_close(numbers[i]);
  }
  (void)settle(-error, ec);
  return {};
}

pipe_ends pipe() {
  return or_throw("gort: pipe", [](std::error_code& ec) { return pipe(ec); });
}

// ---- Reading and writing ------------------------------------------------------------------------

size_t fd::read_some(std::span<std::byte> to, std::error_code& ec) {
  return settle(fd_ == nullptr ? kNoSocket : fd_->read_some(to.data(), to.size()), ec);
}

size_t fd::read(std::span<std::byte> to, std::error_code& ec) {
  size_t done = 0;
  (void)settle(fd_ == nullptr ? kNoSocket : fd_->read_all(to.data(), to.size(), &done), ec);
  return done;
}

size_t fd::write_some(std::span<const std::byte> from, std::error_code& ec) {
  return settle(fd_ == nullptr ? kNoSocket : fd_->write_some(from.data(), from.size()), ec);
}

size_t fd::write(std::span<const std::byte> from, std::error_code& ec) {
  size_t done = 0;
  (void)settle(fd_ == nullptr ? kNoSocket : fd_->write_all(from.data(), from.size(), &done), ec);
  return done;
}

size_t fd::read_some(std::span<std::byte> to) {
  return or_throw("gort: read", [&](std::error_code& ec) { return read_some(to, ec); });
}

size_t fd::read(std::span<std::byte> to) {
  return or_throw("gort: read", [&](std::error_code& ec) { return read(to, ec); });
}

size_t fd::write_some(std::span<const std::byte> from) {
  return or_throw("gort: write", [&](std::error_code& ec) { return write_some(from, ec); });
}

size_t fd::write(std::span<const std::byte> from) {
  return or_throw("gort: write", [&](std::error_code& ec) { return write(from, ec); });
}

// ---- The rest of the handle ---------------------------------------------------------------------

void fd::close() noexcept {
  if (fd_ != nullptr) fd_->close();
}

bool fd::is_open() const noexcept {
  return fd_ != nullptr && fd_->is_open();
}

int fd::native_handle() const noexcept {
  return is_open() ? fd_->number() : -1;
}

void fd::set_read_deadline(net::time_point when, std::error_code& ec) {
  net::detail::set_deadline(fd_, PollMode::read, when, ec);
}

void fd::set_write_deadline(net::time_point when, std::error_code& ec) {
  net::detail::set_deadline(fd_, PollMode::write, when, ec);
}

void fd::set_deadline(net::time_point when, std::error_code& ec) {
  set_read_deadline(when, ec);
  if (!ec) set_write_deadline(when, ec);
}

void fd::set_deadline(net::time_point when) {
  or_throw("gort: set_deadline", [&](std::error_code& ec) { set_deadline(when, ec); });
}

void fd::set_read_deadline(net::time_point when) {
  or_throw("gort: set_read_deadline", [&](std::error_code& ec) { set_read_deadline(when, ec); });
}

void fd::set_write_deadline(net::time_point when) {
  or_throw("gort: set_write_deadline", [&](std::error_code& ec) { set_write_deadline(when, ec); });
}

}  // namespace gort
