// What is told of a run that goes wrong.
#include <signal.h>

#include <algorithm>
#include <iostream>
#include <sstream>

#include "checker/run.hpp"

namespace model {

namespace {

constexpr const char* kOps[] = {"starts",     "reads",      "writes",     "changes",
                                "fence",      "membarrier", "sleeps on",  "is awake from",
                                "wakes",      "pauses",     "joins",      "ends",
                                "hands over", "takes over", "looks again"};
constexpr const char* kOrders[] = {"relaxed", "consume", "acquire",
                                   "release", "acq_rel", "seq_cst"};

}  // namespace

const char* name_of(Op op) {
  return kOps[static_cast<size_t>(op)];
}
const char* name_of(std::memory_order order) {
  return kOrders[static_cast<size_t>(order)];
}

void Checker::fail(const std::string& what) {
  if (!pruned_ && !result_.failed) {
    result_.failed = true;
    result_.what = what;
    result_.trace = trace();
    result_.replay = replay();
  }
  const ThreadId self = current_;
  // The fibers' frames are left as they are.
  switch_fibers(fibers_[self].context, fibers_[self].sanitizer, outside_, outside_s_,
                gort::SwitchKind::returns);
  std::abort();
}

std::string Checker::replay() const {
  std::string s;
  for (size_t i = 0; i < depth_; ++i) s += std::to_string(choices_[i].taken) + " ";
  return s;
}

std::string Checker::name_of(LocationId x) const {
  return memory_.at(x).name;
}

std::string Checker::trace() const {
  std::ostringstream out;
  // Addresses differ from run to run: they are numbered.
  std::vector<uint64_t> addresses;
  const auto value_of = [&addresses](uint64_t v) {
    if (v >> 32 == 0 || v >> 48 != 0) return std::to_string(static_cast<int64_t>(v));
    const auto known = std::find(addresses.begin(), addresses.end(), v);
    const auto number = known - addresses.begin();
    if (known == addresses.end()) addresses.push_back(v);
    return "address " + std::to_string(number);
  };
  for (const Record& r : records_) {
    out << "  T" << r.thread << std::string(2 + size_t{4} * r.thread, ' ')
        << model::name_of(r.step.op);
    if (r.step.has_location) out << ' ' << name_of(r.step.location) << " = " << value_of(r.value);
    out << " (" << model::name_of(r.order) << ')';
    if (r.stale) out << " not the newest";
    out << '\n';
  }
  return out.str();
}

}  // namespace model
