// in_exit: whether this thread is in exit(), which destroys what is static under whoever still uses it.
//
// glibc does not tell, and a handler of ours would come too late: they run in the reverse order of their registration, and something
// static may have been made after any of them (where a function first runs, say). So the stack is looked at, by the unwind tables: some
// microseconds, for those who are about to wait or to complain. Without tables the answer is no.
#pragma once

namespace gort {

[[nodiscard]] bool in_exit() noexcept;

}  // namespace gort
