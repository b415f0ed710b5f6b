// Every single call once: the workload runs with the k-th call of a kind failing, for k = 1, 2, ...
// until a run makes fewer than k such calls. Each time every part of it ends with the right result or
// with an error that names what was refused, no fiber is lost, and nothing is left behind.
#include <algorithm>
#include <cerrno>
#include <vector>

#include "fault_test.hpp"

namespace gort::faults {
namespace {

// What the workload's parts may report.
enum class May : uint8_t {
  never,  // the fault must not be noticed
  code,  // std::system_error with the fault's errno, or the end of a connection whose other half had it
};

struct Case {
  const char* name;
  Call call;
  Fault fault;
  May may;
  bool maybe_unseen = false;  // the call is only made when a race goes one way
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

// More than any run makes of the calls that do not depend on timing.
constexpr uint64_t kMost = 60;

class EveryCall : public FaultTest, public testing::WithParamInterface<Case> {};

void judge(const Case& c, const Outcome& out, const std::string& where) {
  EXPECT_TRUE(out.mistakes.empty()) << where << "\n" << out.text();
  for (const Outcome::Refusal& r : out.refusals) {
    const bool secondary = r.what.starts_with("ended early") ||
                           r.code == std::errc::connection_reset ||
                           r.code == std::errc::broken_pipe || r.code == std::errc::not_connected;
    const bool named = r.code.value() == c.fault.value && r.what.starts_with("gort: ");
    EXPECT_TRUE(c.may == May::code && (named || secondary)) << where << "\n" << out.text();
  }
}

TEST_P(EveryCall, FailsOnce) {
  const Case& c = GetParam();
  uint64_t injected = 0;
  for (uint64_t k = 1; k <= kMost; ++k) {
    const std::string where = std::string(c.name) + ", call number " + std::to_string(k);
    Watchdog::name(where);
    Armed armed({{c.call, nth(k), c.fault}});
    Outcome out;
    run_workload(out);
    armed.disarm();
    judge(c, out, where);
    expect_nothing_left(where);
    if (HasFailure()) return;
    injected += armed.fired();
    if (armed.seen(c.call) < k) break;
  }
  EXPECT_TRUE(injected > 0 || c.maybe_unseen) << "nothing has failed";
  // And when all is well again, all goes well.
  Outcome quiet;
  run_workload(quiet);
  EXPECT_TRUE(quiet.refusals.empty()) << quiet.text();
}

// All of them at once, from the start of the run.
class EveryCallAlways : public EveryCall {};
TEST_P(EveryCallAlways, Fails) {
  const Case& c = GetParam();
  Watchdog::name(std::string(c.name) + ", always");
  Armed armed({{c.call, always(), c.fault}});
  Outcome out;
  run_workload(out);
  armed.disarm();
  judge(c, out, armed.report());
  EXPECT_GT(armed.fired(), 0U) << "nothing has failed";
  expect_nothing_left(c.name);
}

constexpr May kNever = May::never;
constexpr May kCode = May::code;
constexpr int64_t kUs = 1'000;

const Case kCases[] = {
    {"thread_again", Call::thread, fail(EAGAIN), kNever},
    {"thread_memory", Call::thread, fail(ENOMEM), kCode},
    {"map", Call::map, fail(ENOMEM), kCode},
    {"protect", Call::protect, fail(ENOMEM), kNever, true},
    {"guard", Call::guard, fail(ENOMEM), kNever},
    {"guard_unknown", Call::guard, fail(EINVAL), kNever},
    {"discard", Call::discard, fail(EINVAL), kNever},
    {"mincore", Call::mincore, fail(EAGAIN), kNever},
    {"epoll_create_descriptors", Call::epoll_create, fail(EMFILE), kCode},
    {"epoll_create_memory", Call::epoll_create, fail(ENOMEM), kCode},
    {"eventfd", Call::eventfd, fail(ENFILE), kCode},
    {"epoll_add_memory", Call::epoll_add, fail(ENOMEM), kCode},
    {"epoll_add_watches", Call::epoll_add, fail(ENOSPC), kCode},
    {"epoll_wait_interrupted", Call::epoll_wait, fail(EINTR), kNever},
    {"epoll_wait_early", Call::epoll_wait, early(0), kNever},
    {"futex_wait_interrupted", Call::futex_wait, fail(EINTR), kNever},
    {"futex_wait_again", Call::futex_wait, fail(EAGAIN), kNever},
    {"futex_wait_early", Call::futex_wait, early(0), kNever},
    {"futex_wake_late", Call::futex_wake, late(500 * kUs, 0), kNever, true},
    {"membarrier", Call::membarrier, fail(ENOMEM), kNever, true},
    {"read_interrupted", Call::read, fail(EINTR), kNever, true},
    {"write_interrupted", Call::write, fail(EINTR), kNever, true},
    {"close_interrupted", Call::close, fail(EINTR), kNever},
    {"recv_interrupted", Call::recv, fail(EINTR), kNever},
    {"recv_memory", Call::recv, fail(ENOMEM), kCode},
    {"recv_reset", Call::recv, fail(ECONNRESET), kCode},
    {"recv_short", Call::recv, shorten(1), kNever},
    {"send_interrupted", Call::send, fail(EINTR), kNever},
    {"send_memory", Call::send, fail(ENOBUFS), kCode},
    {"send_short", Call::send, shorten(1), kNever},
    {"accept_interrupted", Call::accept, fail(EINTR), kNever},
    {"accept_descriptors", Call::accept, fail(EMFILE), kCode},
    {"accept_descriptors_of_all", Call::accept, fail(ENFILE), kCode},
    {"accept_memory", Call::accept, fail(ENOMEM), kCode},
    {"accept_aborted", Call::accept, fail(ECONNABORTED), kCode},
    {"accept_network_down", Call::accept, fail(ENETDOWN), kCode},
    {"accept_firewall", Call::accept, fail(EPERM), kCode},
    {"socket", Call::socket, fail(EMFILE), kCode},
    {"bind", Call::bind, fail(EADDRINUSE), kCode},
    {"listen", Call::listen, fail(EADDRINUSE), kCode},
    {"connect_interrupted", Call::connect, fail(EINTR), kNever},
    {"connect_ports", Call::connect, fail(EADDRNOTAVAIL), kCode},
    {"set_option", Call::set_option, fail(ENOBUFS), kCode},
    {"get_option", Call::get_option, fail(ENOBUFS), kCode},
    {"address", Call::address, fail(ENOBUFS), kCode},
    {"poll_interrupted", Call::poll, fail(EINTR), kNever},
    {"poll_memory", Call::poll, fail(ENOMEM), kNever},
    {"affinity", Call::affinity, fail(EINVAL), kNever, true},
    {"place", Call::place, fail(EPERM), kNever, true},
    {"open", Call::open, fail(EMFILE), kNever, true},
    {"pread", Call::pread, fail(EINTR), kNever, true},
    {"prctl", Call::prctl, fail(EINVAL), kNever},
};

bool bearable_for_ever(const Case& c) {
  // A call that is interrupted each time is made for ever, and a connection that is never accepted is
  // waited for as long. Threads, and accept loops without descriptors, have tests of their own.
  const bool endless = c.fault.kind == Fault::Kind::error && c.fault.value == EINTR &&
                       c.call != Call::close && c.call != Call::futex_wait;
  const bool waits = c.call == Call::poll || c.call == Call::epoll_wait || c.call == Call::thread ||
                     (c.call == Call::accept && c.fault.value != ECONNABORTED);
  return !endless && !waits && !c.maybe_unseen;
}

std::vector<Case> always_cases() {
  std::vector<Case> all;
  std::copy_if(std::begin(kCases), std::end(kCases), std::back_inserter(all), bearable_for_ever);
  return all;
}

const auto kName = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Kinds, EveryCall, testing::ValuesIn(kCases), kName);
INSTANTIATE_TEST_SUITE_P(Kinds, EveryCallAlways, testing::ValuesIn(always_cases()), kName);

}  // namespace
}  // namespace gort::faults
