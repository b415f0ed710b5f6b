// auxv: what the kernel tells a process at its start. Implements most of "Start-up" of os.hpp.
//
// A program's kernel-made stack holds argc, argv, envp and behind them the auxiliary vector: pairs
// of tag and value that end with AT_NULL. gort is a library and is rarely given argv, so the usual
// way is /proc/self/auxv, read into a fixed buffer; where /proc is missing, the page size at least
// is found by asking mincore.
//
//   A1  Nothing here allocates but auxv() and arguments(), which are for programs.
//   A2  Everything is written before the first M exists, by sysargs(), and only read afterwards.
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "gort/os.hpp"
#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"

namespace gort::os {
namespace {

// No Linux port has a smaller one; addresses are rounded by it, so that it must be a power of two.
constexpr size_t kSmallestPage = 4 << 10;

unsigned long auxvreadbuf[kAuxvWords];
unsigned char addrspace_vec[1];  // mincore's result, which nobody looks at
AuxvFacts facts;
int saved_argc = 0;
char** saved_argv = nullptr;

// Keeps a vector that lives elsewhere, so that auxv() has one place to look.
void keep_vector(const unsigned long* auxv) noexcept {
  if (auxv == auxvreadbuf) return;
  size_t i = 0;
  for (; i + 2 < kAuxvWords && auxv[i] != AT_NULL; i += 2) {
    auxvreadbuf[i] = auxv[i];
    auxvreadbuf[i + 1] = auxv[i + 1];
  }
  auxvreadbuf[i] = AT_NULL;
}

const unsigned long* find_auxv(int argc, char** argv) noexcept {
  char** p = argv + argc + 1;  // past argv's terminating null
  while (*p != nullptr) p++;   // past the environment
  return reinterpret_cast<const unsigned long*>(p + 1);
}

}  // namespace

// A2: called before the first M exists. With argv from main the vector is found behind it; sysargs(0, nullptr) takes the way of a
// library.
void sysargs(int argc, char** argv) noexcept {
  saved_argc = argc;
  saved_argv = argv;
  const bool given = argv != nullptr && sysauxv(find_auxv(argc, argv)) > 0;
  if (!given && read_auxv(procAuxv, auxvreadbuf) > 0) sysauxv(auxvreadbuf);
  if (facts.page_bytes == 0) facts.page_bytes = probe_page_bytes();
}

int sysauxv(const unsigned long* auxv) noexcept {
  keep_vector(auxv);
  facts = parse_auxv(auxvreadbuf);
  if (facts.random != nullptr) set_startup_random_data(facts.random);
  return facts.pairs;
}

AuxvFacts parse_auxv(const unsigned long* auxv) noexcept {
  AuxvFacts out;
  for (; auxv[0] != AT_NULL; auxv += 2, out.pairs++) {
    const unsigned long value = auxv[1];
    switch (auxv[0]) {
      case AT_PAGESZ:
        if (value >= kSmallestPage && std::has_single_bit(value)) out.page_bytes = value;
        break;
      case AT_HWCAP:
        out.hwcap = value;
        break;
      case AT_HWCAP2:
        out.hwcap2 = value;
        break;
      case AT_SECURE:
        out.secure = value != 0;
        break;
      case AT_SYSINFO_EHDR:
        out.vdso = reinterpret_cast<const void*>(value);
        break;
      case AT_RANDOM:
        out.random = reinterpret_cast<const std::byte*>(value);
        break;
      default:
        break;
    }
  }
  return out;
}

int read_auxv(const char* path, std::span<unsigned long> buf) noexcept {
  std::span<char> bytes(reinterpret_cast<char*>(buf.data()), buf.size_bytes());
  const long got = read_file(path, 0, bytes);
  return got < 0 ? static_cast<int>(got) : terminate_auxv(buf, static_cast<size_t>(got));
}

int terminate_auxv(std::span<unsigned long> buf, size_t bytes) noexcept {
  // Whole pairs only, and always room for the AT_NULL pair, also when the file was cut.
  constexpr size_t kPairBytes = 2 * sizeof(unsigned long);
  size_t pairs = bytes / kPairBytes;
  if (2 * pairs + 2 > buf.size()) pairs = buf.size() / 2 - 1;
  buf[2 * pairs] = AT_NULL;
  buf[2 * pairs + 1] = 0;
  return static_cast<int>(pairs);
}

const AuxvFacts& auxv_facts() noexcept {
  return facts;
}

// Allocates (A1).
std::map<unsigned long, unsigned long> auxv() {
  osinit();
  std::map<unsigned long, unsigned long> out;
  for (const unsigned long* p = auxvreadbuf; p[0] != AT_NULL; p += 2) out[p[0]] = p[1];
  return out;
}

std::vector<std::string> arguments() {
  osinit();
  std::vector<std::string> out;
  if (saved_argv != nullptr) {
    out.assign(saved_argv, saved_argv + saved_argc);
    return out;
  }
  char chunk[512];
  std::string all;
  for (long n; (n = read_file(procCmdline, all.size(), chunk)) > 0;) {
    all.append(chunk, static_cast<size_t>(n));
  }
  return split_arguments(all);
}

std::vector<std::string> split_arguments(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\0'), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

int mincore(void* addr, size_t bytes, unsigned char* vec) noexcept {
  return static_cast<int>(raw_syscall(SYS_mincore, addr, bytes, vec));
}

size_t probe_page_bytes() noexcept {
  // Go maps 256 KiB, the largest page that any Linux port has.
  constexpr size_t kLargestPage = 256 << 10;
  const long mapped = raw_syscall(SYS_mmap, nullptr, kLargestPage, PROT_READ | PROT_WRITE,
                                  MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (mapped < 0) return 0;
  size_t found = 0;
  for (size_t n = kSmallestPage; n < kLargestPage; n <<= 1) {
    if (mincore(reinterpret_cast<void*>(mapped + static_cast<long>(n)), 1, addrspace_vec) == 0) {
      found = n;
      break;
    }
  }
  raw_syscall(SYS_munmap, mapped, kLargestPage);
  return found;
}

}  // namespace gort::os
