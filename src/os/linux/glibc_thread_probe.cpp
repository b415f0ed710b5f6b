// glibc_thread_probe: what one ordinary pthread can tell about glibc, and prove.
//
// It is also the pthread that must come before any raw thread: pthread_create() turns off the
// single-thread shortcuts of glibc and libstdc++ (__libc_single_threaded and its hidden twin),
// turns on stdio's locks and installs the handler of signal 33. Without it raw threads corrupt
// memory.
//
// The probe runs on a stack, with a mask and an argument that we chose, so that the fields that
// hold them are known by their contents. The creator and the probe take turns:
//   creator: create, wait for entry, take the lock, say "go on", wait for a sleeper on the lock,
//            look at the lists, give the lock, join
//   probe:   enter, wait for "go on", pthread_create (sleeps on the lock), join that, end
#include <pthread.h>
#include <unwind.h>

#include <csignal>
#include <cstring>

#include "base/mem.hpp"
#include "os/linux/glibc_thread_layout.hpp"
#include "os/linux/syscall.hpp"
#include "os/linux/thread.hpp"

#if GORT_GLIBC_THREADS

#include <dlfcn.h>

namespace gort::os {
namespace {

// The whole takes about a millisecond; a loaded machine may need more, a wrong guess takes all of
// it.
constexpr int64_t kWaitNsMax = 1'000'000'000;
constexpr int kContendedLock = 2;
constexpr size_t kFramesMax = 16;

enum ProbeStage : int { kStarted, kEntered, kGoOn, kSeen };

struct Probe {
  GlibcEntry& entry;
  Atomic<int> stage{kStarted};
  void* creator;                  // the thread that learns
  void* frames[kFramesMax] = {};  // functions, innermost first
  size_t frame_count = 0;
  void* robust_head = nullptr;
  bool key_is_in_first_block = false;
  int create_error = 0;
};

_Unwind_Reason_Code note_frame(_Unwind_Context* context, void* arg) {
  Probe& probe = *static_cast<Probe*>(arg);
  const auto ip = reinterpret_cast<void*>(_Unwind_GetIP(context));
  // libgcc also reports the end of the stack, as a frame that is nowhere.
  if (ip != nullptr && probe.frame_count < kFramesMax) {
    probe.frames[probe.frame_count++] = _Unwind_FindEnclosingFunction(ip);
  }
  return _URC_NO_REASON;
}

// Whether a value that is set by pthread_setspecific lands in the block that the table says is
// first.
bool key_lands_in_first_block(const GlibcEntry& entry) noexcept {
  struct KeyData {
    uintptr_t sequence;
    void* value;
  };
  constexpr pthread_key_t kFirstBlockKeys = 32;
  pthread_key_t key;
  if (pthread_key_create(&key, nullptr) != 0) return false;
  bool lands = key >= kFirstBlockKeys;  // 32 keys are in use: not to be seen here
  if (!lands && pthread_setspecific(key, &entry) == 0) {
    const GlibcOffsets& at = entry.layout->at;
    lands = glibc_field<KeyData>(entry.tcb, at.first_keys + key * sizeof(KeyData)).value == &entry;
  }
  pthread_key_delete(key);
  return lands;
}

void* nothing(void*) {
  return nullptr;
}

// acquire: pairs with the release stores of `stage` by the other side.
bool entered(void* arg) {
  return static_cast<Probe*>(arg)->stage.load(std::memory_order_acquire) == kEntered;
}
// acquire: the same.
bool may_go_on(void* arg) {
  return static_cast<Probe*>(arg)->stage.load(std::memory_order_acquire) == kGoOn;
}

void probe_rest(GlibcEntry& entry) noexcept {
  Probe& probe = *static_cast<Probe*>(entry.context);
  _Unwind_Backtrace(note_frame, &probe);
  probe.key_is_in_first_block = key_lands_in_first_block(entry);
  size_t bytes = 0;
  raw_syscall(SYS_get_robust_list, 0, &probe.robust_head, &bytes);
  // release: publishes all of the above to the creator.
  probe.stage.store(kEntered, std::memory_order_release);
  if (!glibc_wait(may_go_on, &probe)) return;
  pthread_t helper;
  probe.create_error = pthread_create(&helper, nullptr, nothing, nullptr);
  if (probe.create_error == 0) pthread_join(helper, nullptr);
}

bool has_sleeper(void* lock) {
  // acquire: nothing is published by it; the value alone matters, and acquire costs nothing here.
  return std::atomic_ref<int>(*static_cast<int*>(lock)).load(std::memory_order_acquire) ==
         kContendedLock;
}

bool on_list(const GlibcListNode* head, const void* tcb, size_t offset) noexcept {
  constexpr int kNodesMax = 1 << 20;  // a list that is none must not hold us for ever
  const void* wanted = static_cast<const std::byte*>(tcb) + offset;
  const GlibcListNode* node = head->next;
  for (int i = 0; i < kNodesMax && node != head && node != nullptr; ++i, node = node->next) {
    if (node == wanted) return true;
  }
  return false;
}

// Holds the lock while the probe tries to create a thread. True proof: glibc itself marks the very
// word as slept on. In the meantime the lists stand still, so they can be read.
std::string prove_lock_and_lists(const GlibcLayout& layout, Probe& probe) {
  // relaxed, both: the value alone matters; what the lock protects is read while we hold it.
  if (std::atomic_ref<int>(*layout.stack_lock).load(std::memory_order_relaxed) < 0 ||
      std::atomic_ref<int>(*layout.stack_lock).load(std::memory_order_relaxed) > kContendedLock) {
    return "the list lock holds no lock's value";
  }
  glibc_lock_take(layout.stack_lock);
  // release: the probe goes on only while the lock is held.
  probe.stage.store(kGoOn, std::memory_order_release);
  const bool proven = glibc_wait(has_sleeper, layout.stack_lock);
  const size_t link = layout.at.list;
  const bool self_listed = proven && (on_list(layout.stacks_user, probe.creator, link) ||
                                      on_list(layout.stacks_used, probe.creator, link));
  const bool probe_listed = proven && on_list(layout.stacks_user, probe.entry.tcb, link);
  glibc_lock_give(layout.stack_lock);
  if (!proven) return "pthread_create does not wait for the list lock";
  if (!self_listed) return "this thread is not on glibc's lists";
  if (!probe_listed) return "the probe is not on glibc's list of user stacks";
  return "";
}

// start_thread is the probe's caller: a function of the object that pthread_create is in, with only
// clone's frame beneath. A wrapper of pthread_create would have its own function in between.
std::string learn_start_thread(GlibcLayout& layout, const Probe& probe) {
  void* found = _Unwind_FindEnclosingFunction(probe.entry.caller);
  size_t at = 0;
  while (at < probe.frame_count && probe.frames[at] != found) ++at;
  if (found == nullptr || at == probe.frame_count) return "start_thread is not to be found";
  if (at + 2 != probe.frame_count) return "start_thread is not the outermost function but clone";
  Dl_info function{};
  Dl_info clone{};
  Dl_info create{};
  if (dladdr(found, &function) == 0 || dladdr(probe.frames[at + 1], &clone) == 0 ||
      dladdr(dlsym(RTLD_DEFAULT, "pthread_create"), &create) == 0) {
    return "start_thread belongs to no object";
  }
  if (function.dli_fbase != create.dli_fbase || clone.dli_fbase != create.dli_fbase) {
    return "pthread_create is wrapped by another library";
  }
  layout.start_thread = reinterpret_cast<int (*)(void*)>(found);
  return "";
}

// Contents that we chose must be where the table says.
std::string verify_fields(GlibcLayout& layout, const GlibcStack& stack, Probe& probe) {
  GlibcSnapshot& seen = probe.entry.snapshot;
  const GlibcOffsets& at = layout.at;
  const auto address = [&](size_t offset) {
    return static_cast<void*>(static_cast<std::byte*>(probe.entry.tcb) + offset);
  };
  const struct {
    const char* field;
    bool right;
  } fields[] = {
      {"self", probe.entry.tcb == stack.tcb(layout) && probe.entry.fs_self == probe.entry.tcb &&
                   glibc_field<void*>(&seen, kHeadTcb) == probe.entry.tcb},
      {"tid", glibc_field<int>(&seen, at.tid) == probe.entry.tid},
      {"start_routine", glibc_field<void* (*)(void*)>(&seen, at.start_routine) == glibc_entry_main},
      {"arg", glibc_field<void*>(&seen, at.arg) == &probe.entry},
      {"stackblock", glibc_field<void*>(&seen, at.stack) == stack.low()},
      {"stackblock_size", glibc_field<size_t>(&seen, at.stack_bytes) == stack.bytes()},
      {"sigmask", glibc_field<uint64_t>(&seen, at.signal_mask) == glibc_probe_mask()},
      {"user_stack", glibc_field<uint8_t>(&seen, at.user_stack) == 1},
      {"specific", glibc_field<void*>(&seen, at.keys) == address(at.first_keys)},
      {"specific_1stblock", probe.key_is_in_first_block},
      {"robust_head", probe.robust_head == address(at.robust_head)},
      {"robust_prev", glibc_field<void*>(&seen, at.robust_prev) == address(at.robust_head)},
  };
  for (const auto& field : fields) {
    if (!field.right) return std::string("struct pthread differs from the table: ") + field.field;
  }
  layout.flags = glibc_field<uint32_t>(&seen, at.flags);
  return "";
}

int create_probe(pthread_t& thread, const GlibcStack& stack, Probe& probe) {
  const uint64_t mask = glibc_probe_mask();
  sigset_t signals{};
  std::memcpy(&signals, &mask, sizeof mask);
  pthread_attr_t attr;
  if (const int error = pthread_attr_init(&attr)) return error;
  int error = pthread_attr_setstack(&attr, stack.low(), stack.bytes());
  if (error == 0) error = pthread_attr_setsigmask_np(&attr, &signals);
  if (error == 0) error = pthread_create(&thread, &attr, glibc_entry_main, &probe.entry);
  pthread_attr_destroy(&attr);
  return error;
}

}  // namespace

uint64_t glibc_probe_mask() noexcept {
  return kAllButLibcSignals & ~signal_bit(SIGURG);
}

bool glibc_wait(bool (*done)(void*), void* context) noexcept {
  const int64_t deadline_ns = nanotime() + kWaitNsMax;
  while (!done(context)) {
    if (nanotime() > deadline_ns) return false;
    osyield();
  }
  return true;
}

// Not inlined, and the call at the end is no tail call: its caller must be start_thread.
[[gnu::noinline]] void* glibc_entry_main(void* arg) {
  GlibcEntry& entry = *static_cast<GlibcEntry*>(arg);
  void* tcb = reinterpret_cast<void*>(pthread_self());
  std::memcpy(&entry.snapshot, tcb, entry.layout->tcb_bytes);
  entry.tcb = tcb;
  asm("mov %%fs:0x10, %0" : "=r"(entry.fs_self));
  entry.caller = __builtin_return_address(0);
  entry.tid = gettid();
  entry.then(entry);
  return nullptr;
}

std::string glibc_probe(GlibcLayout& layout, const GlibcStack& stack, GlibcEntry& entry) {
  void* self = reinterpret_cast<void*>(pthread_self());
  if (glibc_field<void*>(self, kHeadTcb) != self || glibc_field<void*>(self, kHeadSelf) != self ||
      glibc_field<int>(self, layout.at.tid) != gettid()) {
    return "this thread's own descriptor is not as expected";
  }
  Probe probe{.entry = entry, .creator = self};
  entry.then = probe_rest;
  entry.context = &probe;
  pthread_t thread;
  if (create_probe(thread, stack, probe) != 0) return "no probe thread can be made";
  std::string wrong;
  if (glibc_wait(entered, &probe)) {
    wrong = prove_lock_and_lists(layout, probe);
  } else {
    wrong = "the probe thread does not start";
  }
  pthread_join(thread, nullptr);
  if (wrong.empty() && probe.create_error != 0) wrong = "no second probe thread can be made";
  if (wrong.empty()) wrong = verify_fields(layout, stack, probe);
  if (wrong.empty()) wrong = learn_start_thread(layout, probe);
  return wrong;
}

}  // namespace gort::os

#endif  // GORT_GLIBC_THREADS
