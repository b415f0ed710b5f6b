// thread_choice: which back end newosproc() uses. Decided once, at the first use or when the
// runtime starts, and visible in stats() with its reason.
//
//   TC1  The choice is made under one lock and published by one release store; the text behind
//        thread_backend_reason() is written before and lives as long as the process.
//   TC2  A refused `forced` chooses nothing: there is no silent fallback from what the user asked
//        for.
#include <dlfcn.h>
#include <link.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>
#include <new>

#include "base/mem.hpp"
#include "os/linux/glibc_thread.hpp"
#include "os/linux/thread.hpp"

namespace gort::os {
namespace {

struct Choice {
  std::mutex lock;
  std::list<std::string> texts;  // guarded by lock; nodes never move or go
  Atomic<const char*> reason{"no thread was made yet"};
  Atomic<ThreadBackend> backend{ThreadBackend::none};

  void publish(ThreadBackend chosen, std::string text) {
    texts.push_back(std::move(text));
    // release: pairs with the acquires in thread_backend_reason() and thread_backend() (TC1).
    reason.store(texts.back().c_str(), std::memory_order_release);
    backend.store(chosen, std::memory_order_release);
  }
};

// Never destroyed: threads are made and asked for while the program's statics are torn down.
Choice& choice() noexcept {
  alignas(Choice) static std::byte memory[sizeof(Choice)];
  static Choice& instance = *new (memory) Choice;
  return instance;
}

const char* name_of(ThreadBackend backend) noexcept {
  return backend == ThreadBackend::clone ? "clone" : "pthread";
}

// "" when clone is ready for use, else why it is not.
std::string clone_refusal() {
  const char* obstacle = clone_obstacle(thread_surroundings());
  if (*obstacle != '\0') return obstacle;
  std::string why;
  return glibc_thread_learn(why) ? std::string() : why;
}

// A dynamically linked program names its loader, also one that was started by calling the loader.
int has_interpreter(dl_phdr_info* info, size_t, void*) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type == PT_INTERP) return 1;
  }
  return -1;  // only the first object, the program, is asked
}

}  // namespace

bool choose_thread_backend(std::string_view forced, std::string* error) {
  Choice& c = choice();
  std::lock_guard guard(c.lock);
  // relaxed: written under the lock only.
  const ThreadBackend before = c.backend.load(std::memory_order_relaxed);
  if (before != ThreadBackend::none) {
    if (forced.empty() || forced == name_of(before)) return true;
    *error = "GORT_THREADS=" + std::string(forced) + " comes too late: threads are made with " +
             name_of(before) + " already";
    return false;
  }
  if (forced == "pthread") {
    c.publish(ThreadBackend::pthread, "pthread: forced by GORT_THREADS");
    return true;
  }
  if (!forced.empty() && forced != "clone") {
    *error = "GORT_THREADS=" + std::string(forced) + " is unknown: use clone or pthread";
    return false;
  }
  const std::string refusal = clone_refusal();
  if (refusal.empty()) {
    c.publish(ThreadBackend::clone, forced.empty()
                                        ? "clone: the self-check has passed"
                                        : "clone: forced by GORT_THREADS, self-check passed");
    return true;
  }
  if (forced.empty()) {
    c.publish(ThreadBackend::pthread, "pthread: clone not used, " + refusal);
    return true;
  }
  *error =
      "GORT_THREADS=clone can not be had here: " + refusal + "; unset it, or set it to pthread";
  c.publish(ThreadBackend::none, *error);  // TC2
  return false;
}

ThreadBackend thread_backend() noexcept {
  // acquire: pairs with publish(); what glibc_thread_learn() wrote is seen as well.
  return choice().backend.load(std::memory_order_acquire);
}

const char* thread_backend_reason() noexcept {
  // acquire: pairs with publish(); the text is seen whole.
  return choice().reason.load(std::memory_order_acquire);
}

ThreadSurroundings thread_surroundings() noexcept {
  ThreadSurroundings around;
  around.static_program = dl_iterate_phdr(has_interpreter, nullptr) != 1;
  // Valgrind puts its own libraries in front of the program's; nothing else has such a name.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): asked once, at the start; setenv() beside it is the program's mistake
  const char* preload = std::getenv("LD_PRELOAD");
  around.valgrind = preload != nullptr && std::strstr(preload, "vgpreload") != nullptr;
  around.sanitized = kSanitized;
  if (around.static_program) return around;  // dlsym has little to offer there
  for (const char* init :
       {"__asan_init", "__tsan_init", "__msan_init", "__hwasan_init", "__lsan_init"}) {
    if (dlsym(RTLD_DEFAULT, init) != nullptr) around.sanitized = true;
  }
  return around;
}

const char* clone_obstacle(const ThreadSurroundings& around) noexcept {
  if (around.sanitized) return "a sanitizer must see every thread made by pthread_create";
  if (around.valgrind) return "valgrind must see every thread made by pthread_create";
  if (around.static_program)
    return "the program is statically linked, so glibc's insides have no names";
  return "";
}

}  // namespace gort::os
