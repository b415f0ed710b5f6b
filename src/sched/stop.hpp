// stop: asking fibers to stop (S1, S2 in park.hpp).
#pragma once

#include <cstddef>
#include <stop_token>

#include "sched/g.hpp"

namespace gort {

// Asks a fiber to stop: wakes it out of a cancellable wait, once. Any thread; idempotent. The
// caller keeps g alive (a task's handle).
void request_stop(G* g) noexcept;

// Asks every fiber, and makes fibers that are born from now on inherit the request.
void stop_all() noexcept;

// ST1: the fiber has ended and nobody has a handle. In a region.
void retire_stop_record(G* g) noexcept;
// ST1. Outside of regions.
void free_stop_records() noexcept;

// The fiber's std::stop_token, made on first use.
[[nodiscard]] std::stop_token token_of(G* g);

// True if it is the token of the current fiber.
[[nodiscard]] bool is_own_token(const std::stop_token& token) noexcept;

// True if the fiber has a request that it has not been told of.
[[nodiscard]] inline bool stop_due(const G* g) noexcept {
  // relaxed: S2 orders it by its fence; elsewhere a request that comes too late meets the published
  // wait.
  return g->stop_requested.load(std::memory_order_relaxed) && g->stop_state == StopState::open;
}

// Wakes g out of the wait it has published, if that can be cancelled and nobody was faster, and
// drops the inspector's count that the caller holds on g (S1).
void cancel_wait(G* g) noexcept;

}  // namespace gort
