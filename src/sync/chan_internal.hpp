// What of channels others of gort use: sends that never wait, and what ends with a channel.
#pragma once

#include "gort/chan.hpp"

namespace gort {

struct G;

// What belongs to a channel and ends with its last handle, on the thread that lets go of that one, outside a region.
struct ChanCompanion {
  void (*end)(ChanCompanion*) noexcept;
};

namespace detail {

// Before anybody else knows the channel.
void chan_set_companion(chan_core* c, ChanCompanion* companion) noexcept;

// Sends, if there is room or somebody waits; else the value is dropped. In a region, on g0 too. Returns the fiber that
// the caller has to make ready, or nullptr.
[[nodiscard]] G* chan_offer(chan_core* c, void* value) noexcept;

}  // namespace detail
}  // namespace gort
