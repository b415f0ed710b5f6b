#include "layer/faults.hpp"

#include <sys/epoll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "layer/real.hpp"

namespace gort::faults {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

std::atomic<Plan*> armed_plan{nullptr};
Plan* all_plans = nullptr;  // FA1; changed by the thread that arms only

// splitmix64 (Steele, Lea, Flood 2014): one good word out of seed, rule and number (FA4).
uint64_t mix(uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// True if the n-th call is one of the rule's.
bool hits(const Plan& plan, size_t index, uint64_t n) noexcept {
  const When& when = plan.rules[index].rule.when;
  if (n < when.first || (n - when.first) % when.step != 0) return false;
  if (when.per_mille >= 1000) return true;
  return mix(plan.seed ^ mix(index ^ (n << 8))) % 1000 < when.per_mille;
}

// At most `times` (relaxed: numbers, which publish nothing).
bool take_one(Plan::Armed& a) noexcept {
  uint64_t fired = a.fired.load(std::memory_order_relaxed);
  while (fired < a.rule.when.times) {
    if (a.fired.compare_exchange_weak(fired, fired + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

// ---- Registrations. An entry is written and read by whoever has the descriptor's turn or lock; the
// atomics are for a reader and a writer that register at the same time.

constexpr size_t kFdsMax = 65'536;
struct Registration {
  std::atomic<int> epfd_plus_1{0};
  std::atomic<uint32_t> events{0};
  std::atomic<uint64_t> data{0};
};
Registration registrations[kFdsMax];

bool in_table(int fd) noexcept {
  return fd >= 0 && static_cast<size_t>(fd) < kFdsMax;
}

}  // namespace

const char* name_of(Call c) noexcept {
  static constexpr const char* kNames[kCalls] = {
      "thread",       "map",          "unmap",     "protect",    "guard",   "discard", "mincore",
      "timer_create", "epoll_create", "epoll_add", "epoll_wait", "eventfd", "pipe",    "futex_wait",
      "futex_wake",   "membarrier",   "read",      "write",      "say",     "close",   "recv",
      "send",         "accept",       "socket",    "bind",       "listen",  "connect", "set_option",
      "get_option",   "address",      "poll",      "affinity",   "place",   "open",    "pread",
      "random",       "limit",        "prctl",     "other"};
  return kNames[static_cast<size_t>(c)];
}

Armed::Armed(const Rule* rules, size_t count, uint64_t seed) noexcept : plan_(new Plan) {
  if (count > kRulesMax || armed_plan.load(std::memory_order_relaxed) != nullptr) {
    std::fprintf(stderr, "faults: too many rules, or armed already\n");
    std::abort();
  }
  for (size_t i = 0; i < count; ++i) plan_->rules[i].rule = rules[i];
  plan_->count = count;
  plan_->seed = seed;
  plan_->next = all_plans;
  all_plans = plan_;
  // release: pairs with decide(); the rules are seen whole.
  armed_plan.store(plan_, std::memory_order_release);
}

void Armed::disarm() noexcept {
  if (armed_plan.load(std::memory_order_relaxed) == plan_) {
    armed_plan.store(nullptr, std::memory_order_release);
  }
}

uint64_t Armed::fired(size_t i) const noexcept {
  return plan_->rules[i].fired.load(std::memory_order_relaxed);
}

uint64_t Armed::seen(Call c) const noexcept {
  return plan_->seen[static_cast<size_t>(c)].load(std::memory_order_relaxed);
}

std::string Armed::report() const {
  std::string text;
  for (size_t i = 0; i < plan_->count; ++i) {
    const Rule& r = plan_->rules[i].rule;
    static constexpr const char* kKinds[] = {"late", "error", "early", "short"};
    text += std::string(name_of(r.call)) + " first=" + std::to_string(r.when.first) +
            " step=" + std::to_string(r.when.step) +
            " per_mille=" + std::to_string(r.when.per_mille) + " " +
            kKinds[static_cast<size_t>(r.fault.kind)] + "=" + std::to_string(r.fault.value) +
            " fired=" + std::to_string(fired(i)) + " of " + std::to_string(seen(r.call)) + "\n";
  }
  return text;
}

Fault decide(Call c) noexcept {
  // acquire: pairs with Armed().
  Plan* plan = armed_plan.load(std::memory_order_acquire);
  if (plan == nullptr) return {};
  const uint64_t n = plan->seen[static_cast<size_t>(c)].fetch_add(1, std::memory_order_relaxed) + 1;
  for (size_t i = 0; i < plan->count; ++i) {
    Plan::Armed& a = plan->rules[i];
    if (a.rule.call != c || !hits(*plan, i, n) || !take_one(a)) continue;
    if (a.rule.fault.before_ns > 0) sleep_ns(a.rule.fault.before_ns);
    return a.rule.fault;
  }
  return {};
}

void sleep_ns(int64_t ns) noexcept {
  const struct { int64_t sec, nsec; } time{ns / kNsPerSecond, ns % kNsPerSecond};
  __real_gort_raw_syscall6(SYS_nanosleep, reinterpret_cast<long>(&time), 0, 0, 0, 0, 0);
}

void note_registration(int epfd, int fd, uint32_t events, uint64_t data) noexcept {
  if (!in_table(fd)) return;
  Registration& r = registrations[fd];
  r.events.store(events, std::memory_order_relaxed);
  r.data.store(data, std::memory_order_relaxed);
  // release: pairs with raise_edge().
  r.epfd_plus_1.store(epfd + 1, std::memory_order_release);
}

void forget_registration(int fd) noexcept {
  if (in_table(fd)) registrations[fd].epfd_plus_1.store(0, std::memory_order_relaxed);
}

void raise_edge(int fd) noexcept {
  if (!in_table(fd)) return;
  const Registration& r = registrations[fd];
  const int epfd = r.epfd_plus_1.load(std::memory_order_acquire) - 1;
  if (epfd < 0) return;  // registering it tells what is there
  epoll_event event{};
  event.events = r.events.load(std::memory_order_relaxed);
  event.data.u64 = r.data.load(std::memory_order_relaxed);
  __real_gort_raw_syscall6(SYS_epoll_ctl, epfd, EPOLL_CTL_MOD, fd, reinterpret_cast<long>(&event),
                           0, 0);
}

}  // namespace gort::faults
