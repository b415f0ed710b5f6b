// Alarm: a timer of the program's, under gort/timer.hpp: one that sends into a channel, or starts a function on a fiber.
//
// Its state, which alarm.cpp argues about:
//
//     at rest --arm--> armed --fire()--> due --delivered--> at rest, or armed: a ticker
//        ^               |                |
//        +---stop, reset-+----------------+
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/mem.hpp"
#include "gort/timer.hpp"
#include "sched/lock.hpp"
#include "sched/timerheap.hpp"
#include "sync/chan_internal.hpp"

namespace gort::detail {

struct alarm : ChanCompanion {
  Lock lock;                 // comes before the channel's and the heap's
  Atomic<bool> due{false};   // AL1
  Atomic<uint32_t> pins{0};  // AL2
  Timer timer;               // armed and disarmed under lock
  Plain<int64_t> period_ns =
      0;  // of a ticker, else 0; written under lock, while the timer is not armed

  // What it does when it is due: sends into this, which is not counted (AL3), or, where it is nullptr, calls.
  chan_core* channel = nullptr;

  // Of a function's. Constant, but for the counts.
  void (*call)(void*) = nullptr;
  void (*destroy)(void*) = nullptr;
  void* room = nullptr;           // where the function is, in the alarm's own block
  std::align_val_t align{};       // of the block
  Atomic<uint32_t> refs{1};       // AL3
  Plain<uint64_t> parent_id = 0;  // of the fiber that has armed it, for reports; under lock
};

}  // namespace gort::detail
