// Which run comes next, and who goes on in it.
#include <algorithm>
#include <sstream>

#include "checker/run.hpp"

namespace model {

namespace {

// Of random runs: mostly the usual, so that a run gets far.
constexpr uint32_t kSwitchOneIn = 3;  // who goes on
constexpr uint32_t kRareOneIn = 16;
constexpr uint32_t kVeryRareOneIn = 128;
constexpr uint32_t kOldOneIn = 3;    // which message is read
constexpr uint32_t kLoseOneIn = 64;  // how often a thread loses its priority

bool dependent(const Step& a, const Step& b) {
  if (a.global || b.global) return true;
  if (a.seq_cst && b.seq_cst) return true;
  return a.has_location && b.has_location && a.location == b.location && (a.writes || b.writes);
}

}  // namespace

Result Checker::explore_all() {
  std::istringstream in(options_.replay);
  for (uint32_t n; in >> n;) replay_.push_back(n);
  for (;;) {
    if (options_.random_runs != 0) begin_random_run();
    run_once();
    ++result_.runs;
    if (result_.failed || !replay_.empty()) break;
    if (options_.random_runs != 0) {
      if (result_.runs == options_.random_runs) break;
      continue;
    }
    if (!backtrack()) {
      result_.complete = true;
      break;
    }
    if (result_.runs == options_.max_runs) break;
  }
  result_.sites.assign(sites_.begin(), sites_.end());
  return result_;
}

bool Checker::backtrack() {
  while (!choices_.empty()) {
    Choice& last = choices_.back();
    if (++last.taken < last.count) return true;
    choices_.pop_back();
  }
  return false;
}

// Every second run goes from thread to thread, a few steps each. In the others whoever is most important goes on
// for as long as it can, and a thread may be left out of many steps (Burckhardt et al., PCT, 2010).
void Checker::begin_random_run() {
  const uint64_t seed = options_.seed + result_.runs;
  random_.seed(seed);
  by_priority_ = seed % 2 == 0;
  switch_one_in_ = !by_priority_ ? kSwitchOneIn : seed % 4 == 0 ? kRareOneIn : kVeryRareOneIn;
  for (uint64_t& p : priority_) p = random_();
}

// Whom a random run lets go on, mostly.
template <class Possible>
uint32_t Checker::usual_of(const Possible& possible) {
  if (!by_priority_ || options_.random_runs == 0) return 0;
  if (random_() % kLoseOneIn == 0) priority_[current_] = random_() % UINT32_MAX;
  uint32_t best = 0;
  for (uint32_t i = 1; i < possible.size(); ++i) {
    if (priority_[possible[i]] > priority_[possible[best]]) best = i;
  }
  return best;
}

// Which of n ways: as in the last run as far as that goes, then the first; at random, the usual one but for one time
// in so many.
uint32_t Checker::take(uint32_t n, uint32_t usual, uint32_t one_in) {
  if (pruned_) return 0;
  if (depth_ == choices_.size()) {
    Choice c;
    c.count = n;
    if (depth_ < replay_.size()) {
      c.taken = replay_[depth_];
    } else if (options_.random_runs != 0) {
      c.taken = random_() % one_in == 0 ? static_cast<uint32_t>(random_() % n) : usual;
    }
    choices_.push_back(c);
  }
  return choices_[depth_++].taken;
}

// What a memory operation does of n possibilities.
uint32_t Checker::choose(uint32_t n) {
  if (n == 1 || stale_left_ == 0) return 0;
  const uint32_t taken = take(n, 0, kOldOneIn);
  if (taken != 0) --stale_left_;
  return taken;
}

void Checker::run_once() {
  if (options_.random_runs != 0) choices_.clear();
  ++runs_ever;
  depth_ = 0;
  steps_ = 0;
  sleeping_ = 0;
  pruned_ = false;
  preemptions_left_ = options_.preemptions;
  stale_left_ = options_.stale;
  spurious_left_ = options_.spurious;
  records_.clear();
  for (Fiber& f : fibers_) {
    f.state = State::absent;
    f.left_out_since = 0;
  }
  fiber_count_ = 0;
  memory_.begin([this](uint32_t n) { return choose(n); });
  start(program_);
  current_ = 0;
  if (on_switch != nullptr) on_switch(0);
  gort::sanitizer_thread_init(outside_s_);
  switch_fibers(outside_, outside_s_, fibers_[0].context, fibers_[0].sanitizer,
                gort::SwitchKind::returns);
  eh() = EhGlobals();  // a run that has failed may have left in the middle of an unwinding
  for (ThreadId t = 0; t < fiber_count_; ++t) gort::sanitizer_fiber_retire(fibers_[t].sanitizer);
}

bool Checker::can_go_on(ThreadId t) const {
  const Fiber& f = fibers_[t];
  switch (f.state) {
    case State::ready:
      return true;
    case State::paused:
      return memory_.changes() != f.seen_changes;
    case State::asleep:
      return f.woken || spurious_left_ != 0;
    case State::joining:
      return fibers_[f.joins].state == State::ended;
    case State::awaiting:
      return f.awaits();
    case State::absent:
    case State::ended:
      return false;
  }
  return false;
}

namespace {

struct Threads {
  std::array<ThreadId, kMaxThreads> list;
  uint32_t count = 0;
  void push_back(ThreadId t) { list[count++] = t; }
  [[nodiscard]] const ThreadId* begin() const { return list.data(); }
  [[nodiscard]] const ThreadId* end() const { return list.data() + count; }
  [[nodiscard]] uint32_t size() const { return count; }
  [[nodiscard]] bool empty() const { return count == 0; }
  [[nodiscard]] ThreadId operator[](uint32_t i) const { return list[i]; }
};

}  // namespace

// A run that leaves a thread out for ever that could go on is none of a fair scheduler's: others that wait in loops in which they
// change something would keep it from what they wait for.
bool Checker::put_left_out_first(std::array<ThreadId, kMaxThreads>& possible, uint32_t count) {
  constexpr uint32_t kLeftOutSteps = 500;
  uint32_t longest = 0;
  uint32_t since = steps_;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t& last = fibers_[possible[i]].left_out_since;
    if (last == 0) last = steps_;
    if (last >= since) continue;
    since = last;
    longest = i;
  }
  if (steps_ - since <= kLeftOutSteps) return false;
  std::swap(possible[0], possible[longest]);
  return true;
}

ThreadId Checker::pick_next() {
  if (++steps_ > options_.max_steps) fail("the run does not end");
  Threads possible;
  const bool current_can = can_go_on(current_);
  if (current_can) possible.push_back(current_);
  // Leaving a thread that waits for something is no preemption.
  const bool preempts = current_can && fibers_[current_].state == State::ready;
  const bool keep = preempts && options_.preemptions >= 0 && preemptions_left_ == 0 && !pruned_;
  for (ThreadId t = 0; t < fiber_count_ && !keep; ++t) {
    if (t != current_ && can_go_on(t)) possible.push_back(t);
  }
  // A sleep that could end early does not keep a run alive.
  const bool only_spurious = std::all_of(possible.begin(), possible.end(), [this](ThreadId t) {
    const Fiber& f = fibers_[t];
    return f.state == State::asleep && !f.woken;
  });
  if (only_spurious) {
    // Who waits for a change in a loop goes on and sees the newest of everything. If that is no help either, time
    // passes: limits are reached.
    const auto waits_for_time = [](const Fiber& f) {
      return f.state == State::paused || (f.state == State::asleep && f.has_limit);
    };
    const auto add = [&](State state) {
      for (ThreadId t = 0; t < fiber_count_; ++t) {
        const Fiber& f = fibers_[t];
        const bool there = std::find(possible.begin(), possible.end(), t) != possible.end();
        if (f.state == state && waits_for_time(f) && !f.stuck && !there) possible.push_back(t);
      }
    };
    const uint32_t before = possible.size();
    add(State::paused);
    if (possible.size() == before) add(State::asleep);
    const bool anybody = std::any_of(fibers_.begin(), fibers_.begin() + fiber_count_,
                                     [&](const Fiber& f) { return waits_for_time(f) && !f.stuck; });
    if (!anybody) {
      const bool paused =
          std::any_of(fibers_.begin(), fibers_.begin() + fiber_count_, waits_for_time);
      fail(paused ? "threads wait for a change that nobody makes" : "all threads wait");
    }
  }
  if (options_.preemptions < 0 && options_.random_runs == 0) {
    Threads awake;
    for (const ThreadId t : possible) {
      if ((sleeping_ >> t & 1) == 0) awake.push_back(t);
    }
    if (awake.empty()) {
      pruned_ = true;
    } else {
      possible = awake;
    }
  }
  const bool left_out = !preempts && put_left_out_first(possible.list, possible.count);
  // Whom time lets go on is no matter of importance: who sleeps again and again would keep others from it.
  const uint32_t i = possible.size() == 1 ? 0
                                          : take(possible.size(), left_out ? 0 : usual_of(possible),
                                                 only_spurious ? 1 : switch_one_in_);
  if (i >= possible.size())
    fail("the run cannot be replayed: the program has changed, or is not deterministic");
  const ThreadId next = possible[i];
  if (preempts && next != current_) --preemptions_left_;
  fibers_[next].left_out_since = 0;
  if (only_spurious) fibers_[next].newest_only = true;
  for (uint32_t k = 0; k < i; ++k) sleeping_ |= 1U << possible[k];
  wake_dependent(next);
  return next;
}

// Sleep sets: who was tried before sleeps until something that it depends on happens.
void Checker::wake_dependent(ThreadId next) {
  for (ThreadId t = 0; t < fiber_count_; ++t) {
    if (t == next || dependent(fibers_[t].next, fibers_[next].next)) sleeping_ &= ~(1U << t);
  }
}

}  // namespace model
