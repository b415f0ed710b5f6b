// Memory: C++ atomics as far as this checker knows them, one execution long.
//
// After the promise-free part of Kang, Hur, Lahav, Vafeiadis and Dreyer, "A Promising Semantics for
// Relaxed-Memory Concurrency" (POPL 2017), with C++20's release sequences and seq_cst order. Each location
// keeps every message (store) in modification order. A thread may read any message that is not older
// than the one it knows of, and a store may go anywhere behind that one. Which it is, an Oracle
// decides: the explorer tries all.
//
//   MM1  Coherence: a thread never reads or writes before what its view shows of the location.
//   MM2  An acquire load learns what the message's release handed over; a relaxed one keeps it for
//        the next acquire fence. A read-modify-write passes on what it has read (release sequences).
//   MM3  A read-modify-write stands directly behind the message that it has read; nothing comes between.
//   MM4  seq_cst: the execution's order is the order S. A seq_cst operation sees at least what the last
//        ones before it, and the views at earlier seq_cst fences, have of its location; a fence learns all of that,
//        and adds what it knows: the rules of [atomics.order] in C++20.
//   MM5  A heavy fence (membarrier) is a seq_cst fence in every thread, at some moment of the call.
//
// Not modelled: load buffering (a load never reads what is stored later in the execution), so an
// LB outcome, which C++ allows and POWER and ARM may show, is not found; consume.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "checker/knowledge.hpp"

namespace model {

struct Message {
  uint64_t value = 0;
  Knowledge released;      // for those who acquire it
  uint32_t position = 0;   // in modification order
  bool continued = false;  // MM3: a read-modify-write stands behind it
};

struct Location {
  std::string name;
  std::vector<Message> messages;  // in the order of their making
  std::vector<MessageId> order;   // modification order
  bool alive = true;
};

class Memory {
 public:
  // Picks one of n possibilities, 0 being the one that sequential consistency would choose.
  using Oracle = std::function<uint32_t(uint32_t n)>;

  void begin(Oracle oracle);

  LocationId make(uint64_t initial, std::string name);
  Location& at(LocationId x) { return locations_[x]; }
  [[nodiscard]] const Location& at(LocationId x) const { return locations_[x]; }
  [[nodiscard]] size_t locations() const { return locations_.size(); }

  void thread_begins(ThreadId child, ThreadId parent);
  void thread_joined(ThreadId child, ThreadId parent);
  // What t knows goes into, or comes from, something that orders threads without an atomic.
  void give(ThreadId t, Knowledge& to) { join(to, threads_[t].now); }
  void receive(ThreadId t, const Knowledge& from) { join(threads_[t].now, from); }

  uint64_t load(ThreadId t, LocationId x, std::memory_order order);
  // What the kernel sees: the newest message. No synchronization.
  uint64_t load_newest(ThreadId t, LocationId x);
  void store(ThreadId t, LocationId x, uint64_t value, std::memory_order order);
  // change(old) -> new; returns old.
  uint64_t modify(ThreadId t, LocationId x, const std::function<uint64_t(uint64_t)>& change,
                  std::memory_order order);
  // True, or false with expected set to what is there.
  bool compare_exchange(ThreadId t, LocationId x, uint64_t& expected, uint64_t desired,
                        std::memory_order success, std::memory_order failure);
  void fence(ThreadId t, std::memory_order order);

  // Until the next call with false, t reads the newest messages only: time has passed.
  void read_newest(ThreadId t, bool on) { threads_[t].newest_only = on; }

  [[nodiscard]] const Clock& clock(ThreadId t) const { return threads_[t].now.clock; }
  void step(ThreadId t) { threads_[t].now.clock.step(t); }
  // How many messages there are in all: whoever waits for a change compares two readings.
  [[nodiscard]] uint64_t changes() const { return changes_; }
  // True if the last operation read a message that is not the newest (for the trace).
  [[nodiscard]] bool last_was_stale() const { return last_was_stale_; }

 private:
  struct Thread {
    Knowledge now;
    Knowledge at_release;  // at the last release fence
    Knowledge to_acquire;  // read by relaxed loads since the last acquire fence
    bool newest_only = false;
    // How often in a row an old message of a location was read again.
    std::vector<std::pair<MessageId, uint32_t>> old_reads;
  };

  // The oldest position of x that t may read or follow.
  uint32_t floor(const Thread& t, LocationId x, bool seq_cst) const;
  // The message that is read: one of those from the floor on that are allowed.
  template <class Allowed>
  MessageId pick(Thread& t, LocationId x, bool seq_cst, Allowed&& allowed);
  void learn(Thread& t, LocationId x, MessageId m, std::memory_order order);
  MessageId insert(ThreadId t, LocationId x, uint64_t value, uint32_t position,
                   std::memory_order order, const Message* continues);
  void join(Knowledge& into, const Knowledge& from) const;
  void join_view(View& into, const View& from) const;

  Oracle oracle_;
  std::vector<Location> locations_;
  std::array<Thread, kMaxThreads> threads_;
  View seq_cst_;  // MM4: what seq_cst fences and operations have shown so far
  uint64_t changes_ = 0;
  bool last_was_stale_ = false;
};

}  // namespace model
