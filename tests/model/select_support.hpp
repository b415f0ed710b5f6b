// What programs about select are made of: channels whose elements show races, and a select with what came of it.
#pragma once

#include <cstddef>
#include <optional>
#include <stop_token>
#include <utility>

#include "gort/chan.hpp"
#include "gort/detail/select.hpp"
#include "sync_support.hpp"

namespace gort {

using detail::ModelStopSource;
using model::check;
using model::var;

// An element in which races are found.
struct Item {
  explicit Item(int n) : value(n) {}
  Item(Item&& other) noexcept : value(static_cast<int>(other.value)) { other.value = 0; }
  Item& operator=(Item&&) = delete;
  var<int> value;
};

struct Chan {
  explicit Chan(size_t capacity = 0) : core(detail::chan_make(capacity, detail::ops_of<Item>)) {}
  ~Chan() {
    check(detail::chan_size(core) == 0, "all that was sent was received");
    check(ForeignParked::asleep(foreign_parked.now()) == 0,
          "who was woken does not count as asleep");
    detail::chan_release(core);
  }
  op_status send(int n, int64_t until = detail::chan_forever) const {
    Item item(n);
    return detail::chan_send(core, &item, until);
  }
  op_status recv(int& n, int64_t until = detail::chan_forever) const {
    detail::slot<Item> slot;
    const op_status st = detail::chan_recv(core, &slot, until);
    if (st != op_status::ok) return st;
    n = slot.value.value;
    slot.value.~Item();
    return st;
  }
  int get() const {
    int n = 0;
    check(recv(n) == op_status::ok, "received");
    return n;
  }
  void put(int n) const { check(send(n) == op_status::ok, "sent"); }
  void close() const { detail::chan_close(core); }
  // C2, SL5: no select has left anything in the queues.
  void check_deserted() const {
    int n = 0;
    const bool sent = send(1, detail::chan_now) == op_status::ok;
    const bool received = recv(n, detail::chan_now) == op_status::ok;
    const bool buffered = detail::chan_capacity(core) != 0;
    check(sent == buffered, "no receiver is left in the queue");
    check(received == buffered, "no sender is left in the queue");
  }
  detail::chan_core* core;
};

// One select: its cases, and what came of it.
class Cases {
 public:
  Cases& recv(const Chan& c) {
    Entry& e = add(detail::case_kind::recv);
    e.record->chan = c.core;
    e.record->value = &e.room;
    return *this;
  }
  Cases& send(const Chan& c, int n) {
    Entry& e = add(detail::case_kind::send);
    e.record->chan = c.core;
    e.item.emplace(n);
    e.record->value = &*e.item;
    return *this;
  }
  Cases& timeout(int64_t after_ns) {
    add(detail::case_kind::timeout).record->after_ns = after_ns;
    return *this;
  }
  Cases& stop(const ModelStopSource& source) { return stop(source.token()); }
  Cases& stop(std::stop_token token) {
    Entry& e = add(detail::case_kind::stop);
    e.token = std::move(token);
    e.record->token = &e.token;
    e.record->hook_room = e.hook_room;
    return *this;
  }
  Cases& otherwise() {
    add(detail::case_kind::otherwise);
    return *this;
  }
  // The index of the case that has won; value: what it has received, 0 if the channel is closed.
  size_t wait() {
    const detail::select_end end = detail::select_wait(records_, n_);
    for (size_t i = 0; i < n_; ++i) {
      Entry& e = entries_[i];
      const bool won = i == end.index;
      if (records_[i].kind == detail::case_kind::send) {
        check((e.item->value == 0) == won, "moved if it was sent");
      } else if (records_[i].kind == detail::case_kind::recv && won &&
                 end.status == op_status::ok) {
        value = e.room.value.value;
        e.room.value.~Item();
      }
    }
    closed = end.status == op_status::closed;
    return end.index;
  }

  int value = 0;
  bool closed = false;

 private:
  struct Entry {
    detail::select_case* record = nullptr;
    detail::slot<Item> room;
    std::optional<Item> item;
    std::stop_token token;
    alignas(detail::stop_hook) std::byte hook_room[sizeof(detail::stop_hook)];
  };
  static constexpr size_t kMax = 6;

  Entry& add(detail::case_kind kind) {
    Entry& e = entries_[n_];
    e.record = &records_[n_++];
    e.record->kind = kind;
    return e;
  }

  detail::select_case records_[kMax];
  Entry entries_[kMax];
  size_t n_ = 0;
};

}  // namespace gort
