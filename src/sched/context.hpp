// context: the switch of stacks. Two back ends behind one interface, chosen when gort is built
// (GORT_CONTEXT=asm|boost in CMake): ours for x86-64, and Boost.Context's jump_fcontext, portable
// assembly for every ABI.
//
// A Context is what is saved of something that is not running. switch_context(from, to, data) saves
// the caller in `from` and continues `to`; there, switch_context returns `data` (or a new context's
// entry gets it). `from` is written before the far side runs anything, and read by nobody before
// the far side has published it.
//
// Ours is inline assembly that declares every register clobbered, so that the compiler saves those,
// and only those, that are live. Two things make it fast: fewer registers to save, and no call: a
// call whose return address is never returned to (jump_fcontext leaves by a jump) puts the
// processor's return predictor off by one, and every return up the chain of callers is then
// mispredicted. The frame pointer and the compiler's own unwind tables stay right at every
// instruction but the two that exchange rbp and rsp. The control bits of mxcsr and the x87 control
// word are callee-saved by the ABI and are kept per context; loading them is skipped when they do
// not differ, because loading is what costs.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) && !defined(GORT_CONTEXT_BOOST)
#define GORT_CONTEXT_ASM 1
#else
#include <boost/context/detail/fcontext.hpp>
#endif

namespace gort {

using ContextEntry = void (*)(void* data);

#if defined(GORT_CONTEXT_ASM)

struct Context {
  void* sp = nullptr;
  void* fp = nullptr;
  void* pc = nullptr;
  uint32_t mxcsr = 0;
  uint16_t x87 = 0;
};

// stack_top is aligned to 16.
inline void make_context(Context& c, void* stack_top, ContextEntry entry) noexcept {
  // As if entry had been called: a return address (0, where unwinders stop) lies on the stack.
  auto* sp = static_cast<void**>(stack_top) - 1;
  *sp = nullptr;
  c.sp = sp;
  c.fp = nullptr;
  c.pc = reinterpret_cast<void*>(entry);
  // A fiber starts with its maker's control words, like a thread.
  asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(c.mxcsr), "=m"(c.x87));
}

__attribute__((always_inline)) inline void* switch_context(Context& from, Context& to,
                                                           void* data) noexcept {
  Context* f = &from;
  Context* t = &to;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rsp, 0(%[f])\n\t"
      "movq %%rbp, 8(%[f])\n\t"
      "movq %%rax, 16(%[f])\n\t"
      "stmxcsr 24(%[f])\n\t"
      "fnstcw 28(%[f])\n\t"
      "movl 24(%[f]), %%eax\n\t"
      "movzwl 28(%[f]), %%ecx\n\t"
      "xorl 24(%[t]), %%eax\n\t"
      "xorw 28(%[t]), %%cx\n\t"
      "andl $0xffc0, %%eax\n\t"  // mxcsr's control bits; the status bits are the caller's to save
      "orl %%ecx, %%eax\n\t"
      "jnz 2f\n"
      "3:\n\t"
      "movq 0(%[t]), %%rsp\n\t"
      "movq 8(%[t]), %%rbp\n\t"
      "jmpq *16(%[t])\n"
      "2:\n\t"
      "ldmxcsr 24(%[t])\n\t"
      "fldcw 28(%[t])\n\t"
      "jmp 3b\n"
      "1:\n\t"
      // From 3 to 1 the registers belong to both sides (in_switch). The table's entry goes where the function goes ("?").
      ".pushsection gort_switches,\"a?\",@progbits\n\t"
      ".long 3b - ., 1b - .\n\t"
      ".popsection\n\t"
      : "+D"(data), [f] "+S"(f), [t] "+d"(t)
      :
      : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc",
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#if defined(__AVX512F__)
        ,
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",
        "k7"
#endif
  );
  return data;
}

#else

struct Context {
  boost::context::detail::fcontext_t raw = nullptr;
};

// What goes over with a switch. It lies on the stack that is left, which nobody touches before
// `from` has been written.
struct SwitchMessage {
  Context* from;
  void* data;
};

inline void* receive(boost::context::detail::transfer_t t) noexcept {
  auto* message = static_cast<SwitchMessage*>(t.data);
  void* data = message->data;
  message->from->raw = t.fctx;
  return data;
}

template <ContextEntry entry>
void boost_entry(boost::context::detail::transfer_t t) {
  entry(receive(t));
}

inline void* switch_context(Context& from, Context& to, void* data) noexcept {
  SwitchMessage message{&from, data};
  return receive(boost::context::detail::jump_fcontext(to.raw, &message));
}

#endif

// Whether the stack pointer and the frame pointer at this instruction may belong to two different stacks: who is
// interrupted there cannot be unwound. For signal handlers.
[[nodiscard]] bool in_switch(uintptr_t pc) noexcept;

// Makes a context that calls entry(data) on the stack that ends at stack_top (16-byte aligned).
template <ContextEntry entry>
void prepare_context(Context& c, void* stack_top, [[maybe_unused]] size_t bytes) noexcept {
#if defined(GORT_CONTEXT_ASM)
  make_context(c, stack_top, entry);
#else
  c.raw = boost::context::detail::make_fcontext(stack_top, bytes, boost_entry<entry>);
#endif
}

}  // namespace gort
