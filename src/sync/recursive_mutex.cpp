// recursive_mutex: who owns it, and what it says to those who do not. The rest is its header and mutex.cpp.
#include "gort/recursive_mutex.hpp"

#include <system_error>

#include "sched/current.hpp"

namespace gort::detail {

// A fiber stays where it is between the two looks: who is interrupted keeps its M (PR1 in preempt.hpp). Of a thread not its stand-in, which
// goes to others while the thread ends, in whose last destructors it may still own a mutex.
const void* this_owner() noexcept {
  const M* m = current_m();
  return m != nullptr ? m->cur : this_thread_mark();
}

void throw_too_deep() {
  throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                          "gort::recursive_mutex: locked too often by its owner");
}

void throw_not_owner() {
  throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                          "gort::recursive_mutex: unlock by one who does not own it");
}

}  // namespace gort::detail
