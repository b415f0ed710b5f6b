// Models of the inbox of signals (NT1 to NT3, NT6), and their mutants: handlers, the helper, and who ends a wish.
#include "signal/inbox.hpp"

#include <gtest/gtest.h>

#include "sched/lock.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

constexpr int kOne = 1;
constexpr int kTwo = 2;
constexpr uint64_t kBoth = os::signal_bit(kOne) | os::signal_bit(kTwo);

// What notify.cpp does under its lock `list`.
struct Sent {
  Lock lock;
  var<uint64_t> signals{0};

  void deliver(SignalInbox& inbox) {
    const LockGuard guard(lock);
    signals = signals | inbox.take();
  }
};

// NT1, NT3: two handlers at once; the helper gets both, and sleeps for none.
void helper_gets_all() {
  SignalInbox inbox;
  inbox.open(kBoth);
  Thread one([&] { check(inbox.put(kOne) == Put::down, "NT1: it is wanted"); });
  Thread two([&] { check(inbox.put(kTwo) == Put::down, "NT1: it is wanted"); });
  uint64_t got = 0;
  while (got != kBoth) {
    inbox.sleep();
    got |= inbox.take();
  }
}

// NT2: the wish ends while a handler is at it.
void end_of_a_wish() {
  SignalInbox inbox;
  inbox.open(kBoth);
  bool said = false;
  Thread handler([&] { said = inbox.put(kOne) == Put::down; });
  inbox.close(os::signal_bit(kOne));
  const bool got = (inbox.take() & os::signal_bit(kOne)) != 0;
  handler.join();
  check(said == got, "NT2: what was put down is there, and nothing comes later");
  check(inbox.take() == 0, "NT2: nothing comes later");
}

// The same beside the helper, which may have it in its hands.
void end_of_a_wish_beside_the_helper() {
  SignalInbox inbox;
  Sent sent;
  inbox.open(kBoth);
  bool said = false;
  Thread handler([&] { said = inbox.put(kOne) == Put::down; });
  Thread helper([&] {
    inbox.sleep();
    sent.deliver(inbox);
  });
  inbox.close(kBoth);
  sent.deliver(inbox);
  {
    const LockGuard guard(sent.lock);
    const bool got = sent.signals != 0;
    handler.join();
    check(said == got, "NT2: it was sent before the wish has ended");
  }
  inbox.wake();
  helper.join();
}

// NT6: channels want it, then it is ignored, then they want it again, and so on.
void wanted_and_ignored_in_turns() {
  SignalInbox inbox;
  const uint64_t one = os::signal_bit(kOne);
  inbox.open(one);
  Thread handler([&] {
    for (int i = 0; i < 2; ++i) {
      check(inbox.put(kOne) != Put::refused, "NT6: it is wanted, or it is ignored");
    }
  });
  for (int i = 0; i < 2; ++i) {
    inbox.ignore(one);
    inbox.close(one);
    inbox.open(one);
    inbox.heed(one);
  }
  handler.join();
}

TEST(InboxModel, HelperGetsAll) {
  expect_right({.preemptions = 3}, helper_gets_all);
}
TEST(InboxModel, EndOfAWish) {
  expect_right({}, end_of_a_wish);
}
TEST(InboxModel, EndOfAWishBesideTheHelper) {
  expect_right({.preemptions = 2}, end_of_a_wish_beside_the_helper);
}
TEST(InboxModel, WantedAndIgnoredInTurns) {
  expect_right({.preemptions = 3}, wanted_and_ignored_in_turns);
}
TEST(InboxModel, Mutants) {
  expect_mutants_die({"inbox.hpp"}, {{{.preemptions = 2}, helper_gets_all},
                                     {{}, end_of_a_wish},
                                     {{.preemptions = 2}, end_of_a_wish_beside_the_helper},
                                     {{.preemptions = 3}, wanted_and_ignored_in_turns}});
}

}  // namespace
}  // namespace gort
