// real: what stands behind the wrappers. The linker's --wrap gives the originals these names.
#pragma once

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>

extern "C" {

long __real_gort_raw_syscall6(long nr, long a1, long a2, long a3, long a4, long a5,
                              long a6) noexcept;
long __real_gort_glibc_clone(unsigned long flags, void* stack, int* ptid, int* ctid, void* tls,
                             int (*fn)(void*));
int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*routine)(void*),
                          void* arg);
void* __real_mmap(void* hint, size_t bytes, int prot, int flags, int fd, off_t offset);
int __real_munmap(void* addr, size_t bytes);
int __real_epoll_create1(int flags);
int __real_epoll_ctl(int epfd, int op, int fd, epoll_event* event);
int __real_epoll_wait(int epfd, epoll_event* events, int count, int ms);
int __real_eventfd(unsigned int count, int flags);
int __real_pipe2(int* fds, int flags);
ssize_t __real_read(int fd, void* to, size_t bytes);
ssize_t __real_write(int fd, const void* from, size_t bytes);
int __real_close(int fd);
ssize_t __real_recv(int fd, void* to, size_t bytes, int flags);
ssize_t __real_send(int fd, const void* from, size_t bytes, int flags);
int __real_accept4(int fd, sockaddr* address, socklen_t* bytes, int flags);
int __real_socket(int family, int type, int protocol);
int __real_bind(int fd, const sockaddr* address, socklen_t bytes);
int __real_listen(int fd, int backlog);
int __real_connect(int fd, const sockaddr* address, socklen_t bytes);
int __real_setsockopt(int fd, int level, int name, const void* value, socklen_t bytes);
int __real_getsockopt(int fd, int level, int name, void* value, socklen_t* bytes);
int __real_getsockname(int fd, sockaddr* address, socklen_t* bytes);
int __real_getpeername(int fd, sockaddr* address, socklen_t* bytes);
int __real_ppoll(pollfd* fds, nfds_t count, const timespec* limit, const sigset_t* mask);

}  // extern "C"
