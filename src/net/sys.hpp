// sys: the calls of the kernel for sockets and other descriptors, with the result or -errno. Used by src/net only.
//
// Every function is out of line: __errno_location() is declared const, so a compiler that saw two
// calls of one fiber could reuse the first thread's address after the fiber has moved to another
// thread.
#pragma once

#include <sys/socket.h>

#include <cstddef>

namespace gort::net::sys {

// All descriptors are made close-on-exec and non-blocking.
int socket(int family, int type) noexcept;
int accept(int fd) noexcept;
int bind(int fd, const sockaddr* address, socklen_t bytes) noexcept;
int listen(int fd) noexcept;  // with the longest queue the kernel allows
int connect(int fd, const sockaddr* address, socklen_t bytes) noexcept;
int shutdown_write(int fd) noexcept;
int set_option(int fd, int level, int name, int value) noexcept;
int get_option(int fd, int level, int name, int* value) noexcept;
int local_address(int fd, sockaddr* address, socklen_t* bytes) noexcept;
int file_type(int fd) noexcept;  // S_IFSOCK, S_IFIFO, ...
int make_blocking(int fd) noexcept;
int make_nonblocking(int fd) noexcept;  // 1: it was not, 0: it was
int remote_address(int fd, sockaddr* address, socklen_t* bytes) noexcept;

}  // namespace gort::net::sys
