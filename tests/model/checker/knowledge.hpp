// Knowledge: what a thread of a model has learned, and what a message hands to those who acquire it.
//
//   view    per location, the oldest message that may still be read (coherence)
//   clock   per thread, how many of its steps happen before now (for data races)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace model {

inline constexpr size_t kMaxThreads = 8;

using ThreadId = uint32_t;
using LocationId = uint32_t;

class Clock {
 public:
  [[nodiscard]] uint32_t of(ThreadId t) const { return steps_[t]; }
  void step(ThreadId t) { ++steps_[t]; }
  void join(const Clock& other) {
    for (size_t i = 0; i < kMaxThreads; ++i) {
      if (other.steps_[i] > steps_[i]) steps_[i] = other.steps_[i];
    }
  }

 private:
  std::array<uint32_t, kMaxThreads> steps_{};
};

// A position in a location's modification order. Positions are renumbered when a store goes between
// two others, so a view names the message, and the location knows where it stands.
using MessageId = uint32_t;

class View {
 public:
  [[nodiscard]] MessageId of(LocationId x) const { return x < seen_.size() ? seen_[x] : 0; }
  void set(LocationId x, MessageId m) {
    if (x >= seen_.size()) seen_.resize(x + 1, 0);
    seen_[x] = m;
  }
  [[nodiscard]] size_t size() const { return seen_.size(); }

 private:
  std::vector<MessageId> seen_;
};

struct Knowledge {
  View view;
  Clock clock;
};

}  // namespace model
