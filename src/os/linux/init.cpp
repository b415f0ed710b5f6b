// init: osinit() and the facts about this machine that the options' defaults come from.
//
// Called first of all by runtime.cpp, and by whatever in this layer needs a fact earlier.
//
//   O1  SystemInfo is written by osinit() alone, before the first M exists, and never changes.
#include <sys/resource.h>

#include <bit>

#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"

namespace gort::os {
namespace {

constexpr char kMaxMapCountPath[] = "/proc/sys/vm/max_map_count";
constexpr char kMeminfoPath[] = "/proc/meminfo";

SystemInfo info;  // O1

size_t power_of_two_or_zero(uint64_t n) noexcept {
  return std::has_single_bit(n) ? n : 0;
}

// 0: unlimited or not to be had, which is the same to us.
size_t soft_limit(int resource) noexcept {
  struct {
    uint64_t soft, hard;
  } limit{};
  if (raw_syscall(SYS_prlimit64, 0, resource, nullptr, &limit) != 0) return 0;
  return limit.soft == ~uint64_t{0} ? 0 : limit.soft;
}

void init_once() noexcept {
  if (auxv_facts().page_bytes == 0) sysargs(0, nullptr);  // unless main handed over its arguments
  const AuxvFacts& facts = auxv_facts();
  if (facts.page_bytes != 0) info.page_bytes = facts.page_bytes;
  info.secure = facts.secure;
  info.huge_page_bytes = getHugePageSize();
  info.thread_limit = soft_limit(RLIMIT_NPROC);
  char text[32];
  uint64_t maps = 0;
  const long n = read_file(kMaxMapCountPath, 0, text);
  if (n > 0 && parse_decimal({text, static_cast<size_t>(n)}, maps) && maps != 0) {
    info.map_limit = maps;
  }
  info.cpus = getproccount();
  fence_init();
}

}  // namespace

void osinit() noexcept {
  static const bool done = (init_once(), true);
  static_cast<void>(done);
}

size_t descriptor_limit() noexcept {
  return soft_limit(RLIMIT_NOFILE);
}

const SystemInfo& system_info() noexcept {
  osinit();
  return info;
}

size_t getHugePageSize() noexcept {
  char text[4096];
  long n = read_file(sysTHPSizePath, 0, text);
  if (n > 0) return parse_huge_page_size({text, static_cast<size_t>(n)});
  n = read_file(kMeminfoPath, 0, text);
  return n > 0 ? parse_meminfo_huge_page_size({text, static_cast<size_t>(n)}) : 0;
}

size_t parse_huge_page_size(std::string_view text) noexcept {
  uint64_t bytes = 0;
  return parse_decimal(text, bytes) ? power_of_two_or_zero(bytes) : 0;
}

size_t parse_meminfo_huge_page_size(std::string_view text) noexcept {
  constexpr std::string_view kKey = "Hugepagesize:";
  constexpr std::string_view kUnit = " kB";
  size_t at = text.find(kKey);
  while (at != std::string_view::npos && at != 0 && text[at - 1] != '\n') {
    at = text.find(kKey, at + 1);  // the end of another key
  }
  if (at == std::string_view::npos) return 0;
  text.remove_prefix(at + kKey.size());
  text = text.substr(0, text.find('\n'));
  const size_t digits = text.find_first_not_of(' ');
  if (digits == std::string_view::npos || !text.ends_with(kUnit)) return 0;
  text = text.substr(digits, text.size() - digits - kUnit.size());
  uint64_t kib = 0;
  if (!parse_decimal(text, kib) || kib > (uint64_t{1} << 40)) return 0;
  return power_of_two_or_zero(kib << 10);
}

}  // namespace gort::os
