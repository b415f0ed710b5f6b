// tasks: the threads of the process, whoever made them. Implements the section "The threads of the process" of os.hpp.
//
// Called while all other threads may stand anywhere, in malloc, in the loader or in a sanitizer: all of it is system
// calls and loops over fixed memory. CMakeLists.txt compiles this file without ThreadSanitizer, and for the same reason
// nothing here is taken from the standard library, whose inline functions may come from files compiled with it.
#include <fcntl.h>

#include <cerrno>
#include <csignal>
#include <cstddef>

#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

// The kernel's struct linux_dirent64, without the name.
struct Entry {
  uint64_t inode;
  int64_t offset;
  uint16_t bytes;  // of the whole
  uint8_t type;
};
constexpr unsigned kNameAt = 19;
static_assert(offsetof(Entry, type) == kNameAt - 1);

// The kernel's siginfo_t as SI_QUEUE has it.
struct QueuedSignal {
  int signal = 0;
  int error = 0;
  int code = SI_QUEUE;
  int pad = 0;
  int pid = 0;
  unsigned uid = 0;
  void* value = nullptr;
  char rest[96] = {};
};
static_assert(sizeof(QueuedSignal) == sizeof(siginfo_t));

constexpr size_t kStatBytes = 1024;  // 52 numbers and a name of at most 64 bytes

// Reads the text of /proc/self/stat, ended by a zero byte: what is longer than the buffer is of no interest.
long read_stat(int fd, char (&text)[kStatBytes]) noexcept {
  const long got = raw_syscall(SYS_pread64, fd, static_cast<char*>(text), kStatBytes - 1, 0);
  if (got >= 0) text[got] = '\0';
  return got;
}

// A number at the front of a text; -1 if there is none, or it is no thread's.
int number_at(const char* text) noexcept {
  constexpr int kMax = 1 << 30;
  int value = 0;
  const char* at = text;
  for (; *at >= '0' && *at <= '9'; ++at) {
    if (value > kMax / 10) return -1;
    value = value * 10 + (*at - '0');
  }
  return at == text ? -1 : value;
}

}  // namespace

int parse_task_count(const char* text, TaskCount* count) noexcept {
  // The name, in parentheses, may hold anything, parentheses too. The state follows, and 17 fields on the number.
  constexpr int kFieldsBetween = 17;
  const char* at = nullptr;
  for (const char* c = text; *c != '\0'; ++c) {
    if (*c == ')') at = c;
  }
  if (at == nullptr || at[1] != ' ') return -EINVAL;
  at += 2;
  count->leader_ended = *at == 'Z' || *at == 'X';
  for (int i = 0; i < kFieldsBetween; ++i) {
    while (*at != ' ' && *at != '\0') ++at;
    if (*at == '\0') return -EINVAL;
    ++at;
  }
  count->threads = number_at(at);
  return count->threads > 0 ? 0 : -EINVAL;
}

int tasks_open(TaskList& list) noexcept {
  const char* const dir = "/proc/self/task";
  const char* const stat = "/proc/self/stat";
  const auto open = [](const char* path, int flags) {
    return static_cast<int>(raw_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | flags));
  };
  list.at = list.end = 0;
  list.dir = open(dir, O_DIRECTORY);
  if (list.dir < 0) return list.dir;
  list.stat = open(stat, 0);
  char text[kStatBytes];
  long error = list.stat < 0 ? list.stat : read_stat(list.stat, text);
  if (error >= 0) {
    if (number_at(text) == getpid()) return 0;
    error = -ENOTSUP;
  }
  tasks_close(list);
  return static_cast<int>(error);
}

void tasks_close(TaskList& list) noexcept {
  if (list.dir >= 0) raw_syscall(SYS_close, list.dir);
  if (list.stat >= 0) raw_syscall(SYS_close, list.stat);
  list.dir = list.stat = -1;
}

int tasks_rewind(TaskList& list) noexcept {
  list.at = list.end = 0;
  return static_cast<int>(raw_syscall(SYS_lseek, list.dir, 0, 0));
}

int tasks_next(TaskList& list) noexcept {
  for (;;) {
    if (list.at >= list.end) {
      const long got = raw_syscall(SYS_getdents64, list.dir, static_cast<char*>(list.entries),
                                   sizeof list.entries);
      if (got <= 0) return static_cast<int>(got);
      list.at = 0;
      list.end = static_cast<unsigned>(got);
    }
    const char* const entry = list.entries + list.at;
    list.at += static_cast<const Entry*>(static_cast<const void*>(entry))->bytes;
    const int tid = number_at(entry + kNameAt);
    if (tid > 0) return tid;  // "." and ".." are none
  }
}

int tasks_count(const TaskList& list, TaskCount* count) noexcept {
  char text[kStatBytes];
  const long got = read_stat(list.stat, text);
  return got < 0 ? static_cast<int>(got) : parse_task_count(text, count);
}

int queue_signal(int tid, int sig, void* value) noexcept {
  static QueuedSignal
      info;  // one thread at a time: a stack may have no room, and zeroing it is a call of memset()
  const long pid = raw_syscall(SYS_getpid);
  info.signal = sig;
  info.pid = static_cast<int>(pid);
  info.uid = static_cast<unsigned>(raw_syscall(SYS_getuid));
  info.value = value;
  return static_cast<int>(raw_syscall(SYS_rt_tgsigqueueinfo, pid, tid, sig, &info));
}

long system_call(long nr, const long (&args)[6]) noexcept {
  return raw_syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

}  // namespace gort::os
