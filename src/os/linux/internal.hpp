// internal: what the files of src/os/linux share with each other and with their tests.
//
// Nothing above the os layer includes this. The objects keep the names that they have in the Go
// runtime's os_linux.go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/os.hpp"

namespace gort::os {

// ---- auxv.cpp -----------------------------------------------------------------------------------

inline constexpr char procAuxv[] = "/proc/self/auxv";
inline constexpr char procCmdline[] = "/proc/self/cmdline";

// Room for the auxiliary vector, in words; Linux has about 25 pairs, and the constant is Go's.
inline constexpr size_t kAuxvWords = 128;

// What sysauxv() took out of the vector.
struct AuxvFacts {
  size_t page_bytes = 0;              // AT_PAGESZ, 0: not given, or no page size
  unsigned long hwcap = 0;            // AT_HWCAP
  unsigned long hwcap2 = 0;           // AT_HWCAP2
  bool secure = false;                // AT_SECURE
  const void* vdso = nullptr;         // AT_SYSINFO_EHDR
  const std::byte* random = nullptr;  // AT_RANDOM, 16 bytes
  int pairs = 0;
};

// Pure: reads a vector that ends with AT_NULL.
AuxvFacts parse_auxv(const unsigned long* auxv) noexcept;

// Copies a file that holds an auxiliary vector into buf. The result ends with AT_NULL also when the
// file is longer than the buffer or ends within a pair. The number of whole pairs, or -errno.
int read_auxv(const char* path, std::span<unsigned long> buf) noexcept;
// Pure: does that ending, for `bytes` of a vector at the front of buf. The number of whole pairs.
int terminate_auxv(std::span<unsigned long> buf, size_t bytes) noexcept;

// The page size as mincore tells it: EINVAL until the address is page-aligned. 0: not to be found.
size_t probe_page_bytes() noexcept;

// What the vector said (all zero before sysargs()).
const AuxvFacts& auxv_facts() noexcept;
// Pure: the text of /proc/self/cmdline, in which each argument is followed by a zero byte; the last
// one may lack it (a program that writes to its argv).
std::vector<std::string> split_arguments(std::string_view text);

// ---- random.cpp ---------------------------------------------------------------------------------

inline constexpr char urandom_dev[] = "/dev/urandom";
inline constexpr size_t kStartupRandomBytes = 16;
// AT_RANDOM's bytes, or all zero with `has_startup_random_data` false.
extern std::byte startupRandomData[kStartupRandomBytes];
void set_startup_random_data(const std::byte* bytes16) noexcept;

// One output word of SipHash-2-4 over a 16-byte message, keyed by `key`.
uint64_t siphash(const uint64_t key[2], uint64_t m0, uint64_t m1) noexcept;

// ---- init.cpp -----------------------------------------------------------------------------------

inline constexpr char sysTHPSizePath[] = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";
// Pure: the number in the text of hpage_pmd_size, 0 unless a power of two.
size_t parse_huge_page_size(std::string_view text) noexcept;
// Pure: "Hugepagesize:    2048 kB" in the text of /proc/meminfo, in bytes; 0 unless a power of two.
size_t parse_meminfo_huge_page_size(std::string_view text) noexcept;

// ---- cpu.cpp ------------------------------------------------------------------------------------

// Pure: the processors in an affinity mask, at least 1.
int count_cpus(std::span<const unsigned long> mask) noexcept;

// ---- thread.cpp ---------------------------------------------------------------------------------

// Pure: num_threads in the text of /proc/self/stat, or -EINVAL.
int parse_stat_threads(std::string_view text) noexcept;
// The state in /proc/PID/stat, or 0.
char parse_stat_state(std::string_view text) noexcept;

// ---- tasks.cpp ----------------------------------------------------------------------------------

// Pure: state and num_threads in the text of /proc/self/stat, which ends with a zero byte. 0 or -EINVAL.
int parse_task_count(const char* text, TaskCount* count) noexcept;

// ---- sigrestart.cpp -----------------------------------------------------------------------------

// Where a system call leaves the address that it returns to (RC4), beside in the program counter.
enum class ReturnAddress : uint8_t { unknown, in_rcx, nowhere };
// restart_cut_call() where that is given.
bool restart_cut_call_where(void* context, ReturnAddress where) noexcept;

// ---- fence.cpp ----------------------------------------------------------------------------------

// Registers for membarrier. Called once by osinit().
void fence_init() noexcept;

// ---- poll.cpp -----------------------------------------------------------------------------------

// epoll_wait() for kernels without epoll_pwait2: milliseconds, rounded up.
int epoll_wait_ms(int epfd, std::span<PollEvent> out, int64_t ns) noexcept;

// ---- file.cpp -----------------------------------------------------------------------------------

// Reads a small file at an offset into a fixed buffer, without allocation. Bytes read, or -errno.
long read_file(const char* path, size_t offset, std::span<char> out) noexcept;
// A decimal number with nothing behind it but white space. False: anything else, or too large.
bool parse_decimal(std::string_view text, uint64_t& out) noexcept;

}  // namespace gort::os
