// pprof: a profile as pprof's profile.proto, gzipped. (github.com/google/pprof, proto/profile.proto, says what each field
// means; it is written here by hand, as the format is a dozen fields and the library for it is not small.)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gort {

struct StackCount {
  std::string fiber;           // the label; empty: none
  std::vector<uintptr_t> pcs;  // the innermost first
  uint64_t count = 0;
};

struct CpuSamples {
  std::vector<StackCount> stacks;
  uint64_t lost = 0;  // shown as samples of a function of their own, so that sums are right
  int64_t period_ns = 0;
  int64_t began_unix_ns = 0;
  int64_t duration_ns = 0;
};

// With the mappings and functions of this process, as they are now.
std::string encode_cpu_profile(const CpuSamples& samples);

// Throws std::bad_alloc.
std::string gzip(std::string_view text);

}  // namespace gort
