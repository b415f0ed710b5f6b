// glibc_thread_layout: versions, symbols and offsets (TL1, TL2).
#include "os/linux/glibc_thread_layout.hpp"

#if GORT_GLIBC_THREADS

#include <dlfcn.h>
#include <gnu/libc-version.h>

#include <cstring>

namespace gort::os {
namespace {

struct TableRow {
  const char* version;
  size_t tcb_bytes;
  GlibcOffsets at;
};

// From nptl/descr.h of each version, as gdb shows it with glibc's debug information (`ptype /o
// struct pthread`). A version belongs here only after tests/unit/os/libc_thread_test.cpp has passed
// on it.
constexpr TableRow kTable[] = {
    {"2.36",
     2368,
     {.list = 704,
      .tid = 720,
      .robust_prev = 728,
      .robust_head = 736,
      .cancelhandling = 776,
      .flags = 780,
      .first_keys = 784,
      .keys = 1296,
      .report_events = 1553,
      .user_stack = 1554,
      .sched_priority = 1584,
      .sched_policy = 1588,
      .start_routine = 1592,
      .arg = 1600,
      .stack = 1680,
      .stack_bytes = 1688,
      .signal_mask = 2288,
      .rseq = 2336,
      .rseq_bytes = 32}},
};

// In struct rtld_global: two list heads, two words, then the lock; _dl_stack_user comes first.
constexpr size_t kLockAfterStackUser = 48;

// A descriptor that glibc publishes for libthread_db: size in bits, number of elements, offset.
struct ThreadDbField {
  uint32_t bits, elements, offset;
};

// Looks symbols up until the first one that is missing.
class Symbols {
 public:
  template <class T>
  T get(const char* name) {
    if (missing_ != nullptr) return nullptr;
    void* address = dlsym(RTLD_DEFAULT, name);
    if (address == nullptr) missing_ = name;
    return reinterpret_cast<T>(address);
  }
  [[nodiscard]] const char* missing() const { return missing_; }

 private:
  const char* missing_ = nullptr;
};

std::string learn_calls(GlibcLayout& out) {
  Symbols symbols;
  out.allocate_tls = symbols.get<void* (*)(void*)>("_dl_allocate_tls");
  out.deallocate_tls = symbols.get<void (*)(void*, bool)>("_dl_deallocate_tls");
  out.threads = symbols.get<unsigned*>("__nptl_nthreads");
  const auto info = symbols.get<void (*)(size_t*, size_t*)>("_dl_get_tls_static_info");
  const auto global = symbols.get<std::byte*>("_rtld_global");
  const auto alias = symbols.get<std::byte**>("__nptl_rtld_global");
  const auto user = symbols.get<ThreadDbField*>("_thread_db_rtld_global__dl_stack_user");
  const auto used = symbols.get<ThreadDbField*>("_thread_db_rtld_global__dl_stack_used");
  const auto bytes = symbols.get<uint32_t*>("_thread_db_sizeof_pthread");
  if (symbols.missing() != nullptr) return std::string("glibc has no ") + symbols.missing();
  if (*alias != global) return "glibc's _rtld_global is not where __nptl_rtld_global says";
  if (*bytes != out.tcb_bytes) return "struct pthread has not the size in the table";
  info(&out.tls_bytes, &out.tls_align);
  if (out.tls_bytes < out.tcb_bytes || out.tls_align == 0) return "static TLS has no sensible size";
  out.stacks_user = reinterpret_cast<GlibcListNode*>(global + user->offset);
  out.stacks_used = reinterpret_cast<GlibcListNode*>(global + used->offset);
  out.stack_lock = reinterpret_cast<int*>(global + user->offset + kLockAfterStackUser);
  return "";
}

std::string compare_offsets(const GlibcOffsets& at) {
  const struct {
    const char* name;
    size_t expected;
  } fields[] = {
      {"_thread_db_pthread_tid", at.tid},
      {"_thread_db_pthread_list", at.list},
      {"_thread_db_pthread_specific", at.keys},
      {"_thread_db_pthread_cancelhandling", at.cancelhandling},
      {"_thread_db_pthread_report_events", at.report_events},
      {"_thread_db_pthread_start_routine", at.start_routine},
      {"_thread_db_pthread_schedpolicy", at.sched_policy},
      {"_thread_db_pthread_schedparam_sched_priority", at.sched_priority},
  };
  for (const auto& field : fields) {
    const auto* published = static_cast<const ThreadDbField*>(dlsym(RTLD_DEFAULT, field.name));
    if (published == nullptr) return std::string("glibc has no ") + field.name;
    if (published->offset != field.expected) {
      return std::string(field.name) + " differs from the table";
    }
  }
  return "";
}

}  // namespace

const GlibcOffsets* glibc_table(const char* version, size_t& tcb_bytes) noexcept {
  for (const TableRow& row : kTable) {
    if (std::strcmp(row.version, version) == 0) {
      tcb_bytes = row.tcb_bytes;
      return &row.at;
    }
  }
  return nullptr;
}

std::string glibc_learn_symbols(GlibcLayout& out) {
  const char* version = gnu_get_libc_version();
  const GlibcOffsets* at = glibc_table(version, out.tcb_bytes);
  if (at == nullptr) return std::string("glibc ") + version + " is not in the tested table";
  static_assert([] {
    for (const TableRow& row : kTable) {
      if (row.tcb_bytes > kTcbBytesMax) return false;
    }
    return true;
  }());
  out.at = *at;
  std::string wrong = compare_offsets(out.at);
  return wrong.empty() ? learn_calls(out) : wrong;
}

}  // namespace gort::os

#endif  // GORT_GLIBC_THREADS
