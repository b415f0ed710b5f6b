// unwind: the stack of interrupted code, in the handler of the signal.
//
// By libgcc's unwinder, from the handler's own frame through the kernel's (it knows that by our restorer's bytes) into the
// interrupted code, whose unwind tables hold at every instruction. That is safe in a handler if four things are:
//
//   - Its first call of all sets things up, under pthread_once, and the dynamic linker binds its functions: prepare()
//     makes that call before any signal comes.
//   - It finds a function's table by glibc's _dl_find_object(), which takes no lock and is async-signal-safe (glibc 2.35,
//     GCC 12); before, by dl_iterate_phdr(), under the lock of the dynamic linker. Where that function is missing, or the
//     unwinder is LLVM's, which has a lock of its own, frame pointers are followed, on a fiber's stack only, whose bounds
//     we know.
//   - Code that is registered with it at run time (__register_frame, of some JIT compilers) is looked up under a lock.
//     A program with such code must not be profiled while it registers more; 0017 says so.
//   - It reads memory as the tables say. In the few instructions of a switch of stacks they do not hold (in_switch), and
//     only the instruction itself is noted there.
//
//   PF3  An interrupted switch is not unwound.
//   PF4  A fiber's stack ends at its first frame (fiber_main in spawn.cpp says so to unwinders), an M's at its thread's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/os.hpp"

namespace gort {

struct G;

// Once before the first unwind(), not in a handler.
void prepare_unwind() noexcept;

// Writes the interrupted instruction, and for each caller the byte before the return address. Returns how many; at least
// the first. `g` is what runs on this thread, or nullptr.
[[nodiscard]] size_t unwind(const void* context, const G* g, std::span<uintptr_t> out) noexcept;

// The same by frame pointers alone, on the stack of the fiber `g`. It reads nothing but that stack.
[[nodiscard]] size_t unwind_frame_pointers(const os::SignalContext& from, const G& g,
                                           std::span<uintptr_t> out) noexcept;

}  // namespace gort
