// What the clone back end takes from glibc: a version's name, and descriptors of threads. The input is
// the name; and bytes that are XORed onto a copy of a descriptor.
#include <cstring>
#include <memory>

#include "fuzz.hpp"
#include "os/linux/glibc_thread_layout.hpp"

#if GORT_GLIBC_THREADS

namespace gort::fuzz {
namespace {

void check_version(std::string_view text) {
  constexpr size_t kUntouched = 4711;
  size_t bytes = kUntouched;
  const std::string name(text.substr(0, text.find('\0')));
  const os::GlibcOffsets* at = os::glibc_table(name.c_str(), bytes);
  if (at == nullptr) {
    require(bytes == kUntouched, "never both a size and no table", name);
    return;
  }
  require(name.find_first_not_of("0123456789.") == std::string::npos, "a version", name);
  require(bytes <= os::kTcbBytesMax && at->rseq + at->rseq_bytes <= bytes, "fields lie inside");
}

// Words may differ where that is explained, and where both point into the stack; nowhere else.
void check_difference(Input input) {
  os::GlibcLayout layout;
  const os::GlibcOffsets* at = os::glibc_table("2.36", layout.tcb_bytes);
  require(at != nullptr, "the version of the tests");
  layout.at = *at;
  layout.tls_bytes = layout.tcb_bytes;
  layout.tls_align = alignof(std::max_align_t);
  const auto real = std::make_unique<os::GlibcSnapshot>();
  const auto raw = std::make_unique<os::GlibcSnapshot>();
  bool differs = false;
  while (!input.empty()) {
    const size_t word = (input.byte() * size_t{256} + input.byte()) % (layout.tcb_bytes / 8) * 8;
    const uint8_t bits = input.byte();
    raw->bytes[word + bits % 8] ^= std::byte{bits};
  }
  // Nothing in the input points there.
  alignas(4096) static std::byte memory[4 * 4096];
  const os::GlibcStack stack{memory, sizeof memory};
  const long found = os::glibc_unexplained_difference(layout, stack, *real, *raw);
  for (size_t i = 0; i < layout.tcb_bytes; i += 8) {
    if (std::memcmp(&real->bytes[i], &raw->bytes[i], 8) == 0) continue;
    const bool explained = i == os::kHeadDtv || (i >= at->list && i < at->list + 16) ||
                           i == at->tid || (i >= at->rseq && i < at->rseq + at->rseq_bytes);
    if (explained) continue;
    require(found == static_cast<long>(i), "the first word that nothing explains");
    differs = true;
    break;
  }
  require(differs == (found >= 0), "found if there is one");
  require(os::glibc_unexplained_difference(layout, stack, *raw, *raw) == -1, "equal is equal");
}

}  // namespace
}  // namespace gort::fuzz

#endif  // GORT_GLIBC_THREADS

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
#if GORT_GLIBC_THREADS
  gort::fuzz::check_version({reinterpret_cast<const char*>(data), size});
  gort::fuzz::check_difference({data, size});
#else
  static_cast<void>(data);
  static_cast<void>(size);
#endif
  return 0;
}
