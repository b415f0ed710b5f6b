// switch: the floor under every other figure. Two stacks, Boost.Context's assembly, no scheduler.
#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "harness.hpp"

namespace {

namespace context = boost::context::detail;

constexpr size_t kStackBytes = 64 * 1024;
constexpr int64_t kRoundTrips = 5'000'000;
constexpr int64_t kSwitches = 2 * kRoundTrips;  // there and back

// The other side: jumps back at once, for ever. It is never ended; its stack is simply dropped.
void bounce(context::transfer_t from) {
  for (;;) from = context::jump_fcontext(from.fctx, nullptr);
}

}  // namespace

int main() {
  auto stack = std::make_unique<std::byte[]>(kStackBytes);
  context::fcontext_t other =
      context::make_fcontext(stack.get() + kStackBytes, kStackBytes, bounce);
  double ns = bench::median_ns(kSwitches, [&other] {
    for (int64_t i = 0; i < kRoundTrips; ++i) {
      other = context::jump_fcontext(other, nullptr).fctx;
    }
  });
  bench::report("switch", "boost.context", 1, ns);
}
