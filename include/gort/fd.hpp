// fd: any descriptor that can be polled, and pipes, with reads and writes that block the fiber only.
//
// The rules of net.hpp hold: two forms of each call, the end of a stream, deadlines, close(), who may use a handle at the
// same time, and no SIGPIPE (unless the program blocks it, and one is pending already). But a thread outside the runtime that
// waits hears of a close() of what is no TCP stream, and of any release(), after up to 50 ms.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "gort/export.hpp"

namespace gort {

namespace net {
namespace detail {
class Fd;
}
class tcp_stream;
}  // namespace net
struct pipe_ends;

// A descriptor that reads and writes: an end of a pipe, a FIFO, a terminal, an eventfd, timerfd, signalfd, inotify, a
// connected socket. Where messages have bounds (datagrams), use read_some() and write_some(): each moves one, and an empty one looks
// like an end. Other handles are made of it (net::tcp_stream); it has no virtual destructor.
class GORT_API fd {
 public:
  fd() noexcept = default;  // no descriptor
  fd(fd&& other) noexcept : fd_(std::exchange(other.fd_, nullptr)) {}
  fd& operator=(fd&& other) noexcept;
  ~fd();  // closes

  // Takes over a descriptor. It becomes non-blocking, and stays that when it is closed; so does whatever shares what was opened: the
  // other descriptors of a terminal, and processes that have inherited it. Fails with bad_file_descriptor, with
  // operation_not_permitted for files, directories and disks, which can not be polled, with not_enough_memory; the descriptor is
  // the caller's then, as it was.
  [[nodiscard]] static fd adopt(int number);
  [[nodiscard]] static fd adopt(int number, std::error_code& ec);

  // Ends the handle's use as close() does, but does not close the descriptor: returns it, and it blocks again, unless it did not
  // when it was taken over. For a child process, which expects that: before the fork, since what was opened blocks for all
  // who share it, other handles too. (In the child of a fork it stays as the parent needs it, non-blocking.) Fails (-1) with
  // operation_canceled if it has been closed or released, bad_file_descriptor without one.
  [[nodiscard]] int release();
  [[nodiscard]] int release(std::error_code& ec);

  // Waits until something is there and reads at most the buffer's size.
  size_t read_some(std::span<std::byte> to);
  size_t read_some(std::span<std::byte> to, std::error_code& ec);
  size_t read_some(std::span<char> to) { return read_some(std::as_writable_bytes(to)); }
  size_t read_some(std::span<char> to, std::error_code& ec) {
    return read_some(std::as_writable_bytes(to), ec);
  }

  // Fills the buffer. Less than its size means that the stream has ended (or, with ec set, failed).
  size_t read(std::span<std::byte> to);
  size_t read(std::span<std::byte> to, std::error_code& ec);
  size_t read(std::span<char> to) { return read(std::as_writable_bytes(to)); }
  size_t read(std::span<char> to, std::error_code& ec) {
    return read(std::as_writable_bytes(to), ec);
  }

  // Waits until the kernel takes something. Fails with broken_pipe if nobody can read it any more.
  size_t write_some(std::span<const std::byte> from);
  size_t write_some(std::span<const std::byte> from, std::error_code& ec);
  size_t write_some(std::string_view from) { return write_some(std::as_bytes(std::span(from))); }
  size_t write_some(std::string_view from, std::error_code& ec) {
    return write_some(std::as_bytes(std::span(from)), ec);
  }

  // Writes all of it. Less than all was written if ec is set.
  size_t write(std::span<const std::byte> from);
  size_t write(std::span<const std::byte> from, std::error_code& ec);
  size_t write(std::string_view from) { return write(std::as_bytes(std::span(from))); }
  size_t write(std::string_view from, std::error_code& ec) {
    return write(std::as_bytes(std::span(from)), ec);
  }

  // Closes the descriptor and wakes who waits for it. Returns once it is closed, or has been released. Does nothing without one.
  void close() noexcept;
  // Whether there is a descriptor that has not been closed.
  [[nodiscard]] bool is_open() const noexcept;

  // Until when reads and writes may take.
  void set_deadline(std::chrono::steady_clock::time_point when);
  void set_deadline(std::chrono::steady_clock::time_point when, std::error_code& ec);
  // The same for reads.
  void set_read_deadline(std::chrono::steady_clock::time_point when);
  void set_read_deadline(std::chrono::steady_clock::time_point when, std::error_code& ec);
  // The same for writes.
  void set_write_deadline(std::chrono::steady_clock::time_point when);
  void set_write_deadline(std::chrono::steady_clock::time_point when, std::error_code& ec);

  // For options that have no call here; -1 without a descriptor. It stays non-blocking and ours.
  [[nodiscard]] int native_handle() const noexcept;

 private:
  friend pipe_ends pipe(std::error_code& ec);
  friend class net::tcp_stream;
  explicit fd(net::detail::Fd* opened) noexcept : fd_(opened) {}
  net::detail::Fd* fd_ = nullptr;
};

// What is written into one end comes out of the other.
struct GORT_API pipe_ends {
  fd reader;  // reads 0 bytes once the writer, and every copy of it, is closed
  fd writer;  // fails with broken_pipe once the reader, and every copy of it, is closed
};

// A pipe of the operating system, close-on-exec: between fibers and child processes or foreign libraries. Between fibers alone
// channels are better. Fails with too_many_files_open, too_many_files_open_in_system, not_enough_memory.
[[nodiscard]] GORT_API pipe_ends pipe();
[[nodiscard]] GORT_API pipe_ends pipe(std::error_code& ec);

}  // namespace gort
