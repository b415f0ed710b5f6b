// sigrestart: a system call that a signal of ours has cut short is made again. Implements restart_cut_call() of os.hpp;
// called by the handler of SIGURG (src/signal/handler.cpp), for sysmon's signals alone.
//
// SA_RESTART makes the kernel do that for most calls, but not for those with a time limit (poll, nanosleep, recv with
// SO_RCVTIMEO). A signal that is meant for a thread that computes may meet one that has just begun such a call, and programs
// do not look for EINTR where they have installed no handler. So the handler sets the thread back to the call's first instruction.
//
//   RC1  Only calls of which EINTR says that they have done nothing, so nothing is done twice. Not close(), which has closed
//        all the same, and not connect(), which goes on behind its caller's back.
//   RC2  To the program it is as if that signal, and whichever came in the same moment, had come before the call, which is possible for
//        every call but those that let signals in by a mask of their own: sigsuspend, and ppoll, pselect and epoll_pwait if they
//        have got one. Those are not made again. A relative time limit begins anew. Both are a matter of moments: a thread
//        that blocks for longer has lost its P (WA2 in watch.hpp), and gets no such signal.
//   RC3  The kernel does not say which call it was (on x86-64 the number was in rax, where the result is now), but the instruction
//        before the call does: libc's wrappers load a constant, or a register that the call has left alone. What might be
//        read in two ways is not made again: what looks like `mov $nr, %eax` may be the end of a longer instruction, whose
//        address ends in b8. The code is read by a system call, since it may be executable only.
//   RC4  That the thread stands behind a call, and has not come there otherwise, is told by rcx, where the instruction leaves its
//        return address. A processor that enters the kernel in another way (FRED) leaves rcx alone, so we look once.
//
// On aarch64 the number is still there, and the first argument gone: nothing is made again there.
#include <sys/uio.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <initializer_list>

#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {

#if defined(__x86_64__)

namespace {

constexpr size_t kSyscallBytes = 2;   // 0f 05
constexpr size_t kArgumentBytes = 4;  // mov disp8(%rsp), %edi: before it in some of libc's
constexpr size_t kLoadBytes = 8;      // mov $nr, %eax, and what it may be the end of
constexpr size_t kBytes = kLoadBytes + kArgumentBytes + kSyscallBytes;
using Code = std::array<uint8_t, kBytes>;  // up to the instruction behind the call

bool read_safely(uintptr_t address, void* out, size_t bytes) noexcept {
  const iovec to{out, bytes};
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address out of a register
  const iovec from{reinterpret_cast<void*>(address), bytes};
  return raw_syscall(SYS_process_vm_readv, getpid(), &to, 1, &from, 1, 0) ==
         static_cast<long>(bytes);
}

// RC2: pselect's mask is behind two pointers.
bool has_no_mask(uintptr_t pselects_argument) noexcept {
  uintptr_t mask = 0;
  return pselects_argument == 0 ||
         (read_safely(pselects_argument, &mask, sizeof mask) && mask == 0);
}

// RC1, RC2.
bool may_be_made_again(long nr, const greg_t* registers) noexcept {
  switch (nr) {
    case SYS_poll:
    case SYS_select:
    case SYS_epoll_wait:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_futex:
    case SYS_read:
    case SYS_readv:
    case SYS_write:
    case SYS_writev:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_msgrcv:
    case SYS_msgsnd:
      return true;
    case SYS_ppoll:
      return registers[REG_R10] == 0;
    case SYS_epoll_pwait:
      return registers[REG_R8] == 0;
    case SYS_pselect6:
      return has_no_mask(static_cast<uintptr_t>(registers[REG_R9]));
    default:
      return false;
  }
}

bool is_rex(uint8_t byte) noexcept {
  return (byte & 0xf0U) == 0x40U;
}

enum class Half : uint8_t { lower, upper };  // of the sixteen registers

// What `mov %reg, %eax` with that last byte has loaded, which the call has left alone. -1: it has not.
long loaded_from(const greg_t* registers, uint8_t mod_rm, Half half) noexcept {
  constexpr int kRegisters[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
  const size_t which = ((mod_rm >> 3U) & 7U) + (half == Half::upper ? 8U : 0U);
  const int reg = kRegisters[which];
  if (reg == REG_RAX || reg == REG_RCX || reg == REG_R11) return -1;
  return static_cast<long>(static_cast<uint32_t>(registers[reg]));
}

bool is_argument(const uint8_t* end) noexcept {
  return end[-4] == 0x8b && end[-3] == 0x7c && end[-2] == 0x24;
}

// RC3: whether `b8` and four bytes up to `end` are an address's and an operand's last: `movl $7, -0x48(%rsp)` is c7 44 24 b8 07 00
// 00 00, `mov 0xe8(%rax), %edi` is 8b b8 e8 00 00 00.
bool may_be_longer(const uint8_t* end) noexcept {
  const uint8_t before = end[-6];
  const auto is_one_of = [](uint8_t byte, std::initializer_list<uint8_t> these) {
    return std::find(these.begin(), these.end(), byte) != these.end();
  };
  // The four bytes are the address's: mov, lea, movslq, movzx, movsx.
  if (is_one_of(before, {0x89, 0x8b, 0x8d, 0x63})) return true;
  if (end[-7] == 0x0f && is_one_of(before, {0xb6, 0xb7, 0xbe, 0xbf})) return true;
  // They are an operand behind it: add and its like, imul; and with an index mov and test, too.
  constexpr uint8_t kMod = 0xc0;
  constexpr uint8_t kByteBehind = 0x40;
  constexpr uint8_t kRm = 7;
  constexpr uint8_t kIndex = 4;
  if (is_one_of(end[-7], {0x69, 0x81}) && (before & kMod) == kByteBehind) return true;
  return is_one_of(end[-8], {0x69, 0x81, 0xc7, 0xf7}) && (end[-7] & kMod) == kByteBehind &&
         (end[-7] & kRm) == kIndex;
}

// RC3. -1: it can not be told.
long number_of(const Code& code, const greg_t* registers) noexcept {
  constexpr size_t kCall = kBytes - kSyscallBytes;
  if (code[kCall] != 0x0f || code[kCall + 1] != 0x05) return -1;
  const uint8_t* load = &code[kCall];  // the load ends here
  if (is_argument(load)) load -= kArgumentBytes;
  if (load[-5] == 0xb8 && !is_rex(load[-6]) && !may_be_longer(load)) {  // mov $nr, %eax
    return load[-4] | (load[-3] << 8U) | (load[-2] << 16U) | (load[-1] << 24U);
  }
  if (load[-2] == 0x31 && load[-1] == 0xc0 && !is_rex(load[-3])) return 0;  // xor %eax, %eax
  if (load[-2] != 0x89 || (load[-1] & 0xc7U) != 0xc0) return -1;            // mov %reg, %eax
  constexpr uint8_t kUpperRegister = 0x44;
  const long lower = loaded_from(registers, load[-1], Half::lower);
  if (!is_rex(load[-3])) return lower;
  if (load[-3] != kUpperRegister || may_be_made_again(lower, registers)) return -1;
  return loaded_from(registers, load[-1], Half::upper);
}

// A call of its own, in which rcx is not what the instruction leaves there.
ReturnAddress learn() noexcept {
  long number = SYS_getpid;
  uintptr_t rcx = 0;
  uintptr_t behind = 0;
  __asm__ volatile(
      "leaq 1f(%%rip), %[behind]\n"
      "syscall\n"
      "1:\n"
      : "+a"(number), "+c"(rcx), [behind] "=&r"(behind)
      :
      : "r11", "memory");
  return rcx == behind ? ReturnAddress::in_rcx : ReturnAddress::nowhere;
}

ReturnAddress return_address() noexcept {
  static constinit Atomic<ReturnAddress> known{ReturnAddress::unknown};
  // relaxed, both: it is the same whoever looks.
  ReturnAddress now = known.load(std::memory_order_relaxed);
  if (now == ReturnAddress::unknown) {
    now = learn();
    known.store(now, std::memory_order_relaxed);  // relaxed: as above
  }
  return now;
}

}  // namespace

bool restart_cut_call(void* context) noexcept {
  return restart_cut_call_where(context, return_address());
}

bool restart_cut_call_where(void* context, ReturnAddress where) noexcept {
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto pc = static_cast<uintptr_t>(registers[REG_RIP]);
  if (registers[REG_RAX] != -EINTR) return false;
  if (where == ReturnAddress::in_rcx && registers[REG_RCX] != registers[REG_RIP]) return false;
  Code code;
  if (!read_safely(pc - kBytes, code.data(), kBytes)) return false;
  const long nr = number_of(code, registers);
  if (!may_be_made_again(nr, registers)) return false;
  registers[REG_RAX] = nr;
  registers[REG_RIP] -= static_cast<greg_t>(kSyscallBytes);
  return true;
}

#else

bool restart_cut_call(void*) noexcept {
  return false;
}
bool restart_cut_call_where(void*, ReturnAddress) noexcept {
  return false;
}

#endif

}  // namespace gort::os
