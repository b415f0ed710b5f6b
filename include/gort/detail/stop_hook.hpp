// A function that a stop request calls. Its own header, since the models have a source of requests that they can see.
#pragma once

#include <stop_token>

#include "gort/detail/mem.hpp"

namespace gort::detail {

struct stop_call {
  void (*call)(void*) noexcept;
  void* arg;
  void operator()() const noexcept { call(arg); }
};

// Made from a token and a stop_call. The call comes at once if the request was made before. Its end waits for a
// call that is under way.
using stop_hook = std::stop_callback<stop_call>;

[[nodiscard]] inline bool requested(const std::stop_token& token) noexcept {
  return token.stop_requested();
}

}  // namespace gort::detail
