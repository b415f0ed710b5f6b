// The compiled part of select, under the templates of select.hpp. Not for users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>

#include "gort/detail/mem.hpp"
#include "gort/detail/stop_hook.hpp"
#include "gort/errors.hpp"
#include "gort/export.hpp"

namespace gort {

struct Wait;

namespace detail {

class chan_core;
struct chan_queue;

// Who else may end a wait beside the channel that it is queued in: then claim() decides (W1 in park.hpp).
enum class rivals : uint8_t { none, limit, cases };

// A wait's place in the queue of a channel; on the stack of who waits, under the channel's lock while it is queued.
struct chan_node {
  // Without initializers: a plain send or receive fills in what it needs and no more.
  chan_node() noexcept {}

  Plain<chan_node*> prev;
  Plain<chan_node*> next;
  Plain<chan_queue*> queue;  // nullptr once dequeued
  Plain<void*> element;
  Plain<Wait*> wait;
  Plain<rivals> against;
};

enum class case_kind : uint8_t { recv, send, timeout, stop, otherwise };

// One case of a select. Lives as long as the select does, and can be used again for another.
struct select_case : chan_node {
  select_case() noexcept {}

  case_kind kind = case_kind::otherwise;
  Plain<bool> locks_channel = false;  // of several cases of one channel one has its lock
  chan_core* chan = nullptr;          // recv, send; nullptr: never ready
  void* value = nullptr;  // recv: room for one; send: the value, moved from if it is sent
  int64_t after_ns = 0;   // timeout
  const std::stop_token* token = nullptr;  // stop; nullptr: never ready
  void* hook_room = nullptr;               // stop: for a stop_hook
  uint32_t turn = 0;  // element i of the order in which this select looks at its cases
  uint32_t rank = 0;  // element i of the order of the channels' addresses
};

// Which case has won, and how: ok, or closed for a receive from a closed channel.
struct select_end {
  size_t index;
  op_status status;
};

// Waits until one of the cases can go on, and lets it. Throws closed_channel (a send, on a channel that is closed),
// gort::stopped.
GORT_API select_end select_wait(select_case* cases, size_t n);
// Without waiting: index n if none can go on, and none is `otherwise`. Throws closed_channel.
GORT_API select_end select_poll(select_case* cases, size_t n);

}  // namespace detail
}  // namespace gort
