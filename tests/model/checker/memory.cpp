#include "checker/memory.hpp"

#include <algorithm>

namespace model {

namespace {

// A thread may read the same old message of a location so often in a row; then it gets the newest. What a
// waiting loop reads must come to an end some time.
constexpr uint32_t kOldReadsMax = 2;

bool acquires(std::memory_order o) {
  return o == std::memory_order_acquire || o == std::memory_order_consume ||
         o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}
bool releases(std::memory_order o) {
  return o == std::memory_order_release || o == std::memory_order_acq_rel ||
         o == std::memory_order_seq_cst;
}

}  // namespace

void Memory::begin(Oracle oracle) {
  oracle_ = std::move(oracle);
  locations_.clear();
  for (Thread& t : threads_) t = Thread();
  seq_cst_ = View();
  changes_ = 0;
}

LocationId Memory::make(uint64_t initial, std::string name) {
  Location x;
  x.name = std::move(name);
  x.messages.push_back(Message());
  x.messages[0].value = initial;
  x.order.push_back(0);
  locations_.push_back(std::move(x));
  return static_cast<LocationId>(locations_.size() - 1);
}

void Memory::thread_begins(ThreadId child, ThreadId parent) {
  threads_[child] = Thread();
  threads_[child].now = threads_[parent].now;
}

void Memory::thread_joined(ThreadId child, ThreadId parent) {
  join(threads_[parent].now, threads_[child].now);
}

void Memory::join_view(View& into, const View& from) const {
  for (LocationId x = 0; x < from.size(); ++x) {
    const Location& l = locations_[x];
    if (l.messages[from.of(x)].position > l.messages[into.of(x)].position) into.set(x, from.of(x));
  }
}

void Memory::join(Knowledge& into, const Knowledge& from) const {
  join_view(into.view, from.view);
  into.clock.join(from.clock);
}

uint32_t Memory::floor(const Thread& t, LocationId x, bool seq_cst) const {
  const Location& l = locations_[x];
  uint32_t p = l.messages[t.now.view.of(x)].position;                 // MM1
  if (seq_cst) p = std::max(p, l.messages[seq_cst_.of(x)].position);  // MM4
  return p;
}

template <class Allowed>
MessageId Memory::pick(Thread& t, LocationId x, bool seq_cst, Allowed&& allowed) {
  const Location& l = locations_[x];
  const auto newest = static_cast<uint32_t>(l.order.size() - 1);
  const uint32_t lowest = t.newest_only ? newest : floor(t, x, seq_cst);
  if (x >= t.old_reads.size()) t.old_reads.resize(x + 1, {0, 0});
  auto& [old, times] = t.old_reads[x];
  std::vector<MessageId> possible;  // the newest first
  for (uint32_t p = newest + 1; p-- > lowest;) {
    const MessageId m = l.order[p];
    if (p != newest && m == old && times >= kOldReadsMax) break;
    if (allowed(l.messages[m])) possible.push_back(m);
  }
  const MessageId m =
      possible[possible.size() == 1 ? 0 : oracle_(static_cast<uint32_t>(possible.size()))];
  last_was_stale_ = l.messages[m].position != newest;
  times = !last_was_stale_ ? 0 : m == old ? times + 1 : 1;
  old = m;
  return m;
}

// MM2.
void Memory::learn(Thread& t, LocationId x, MessageId m, std::memory_order order) {
  const Knowledge& released = locations_[x].messages[m].released;
  join(acquires(order) ? t.now : t.to_acquire, released);
  t.now.view.set(x, m);
  if (order == std::memory_order_seq_cst &&
      locations_[x].messages[m].position > locations_[x].messages[seq_cst_.of(x)].position) {
    seq_cst_.set(x, m);
  }
}

uint64_t Memory::load(ThreadId id, LocationId x, std::memory_order order) {
  Thread& t = threads_[id];
  const MessageId m =
      pick(t, x, order == std::memory_order_seq_cst, [](const Message&) { return true; });
  learn(t, x, m, order);
  return locations_[x].messages[m].value;
}

uint64_t Memory::load_newest(ThreadId id, LocationId x) {
  const MessageId m = locations_[x].order.back();
  last_was_stale_ = false;
  learn(threads_[id], x, m, std::memory_order_relaxed);
  return locations_[x].messages[m].value;
}

MessageId Memory::insert(ThreadId id, LocationId x, uint64_t value, uint32_t position,
                         std::memory_order order, const Message* continues) {
  Thread& t = threads_[id];
  Location& l = locations_[x];
  const auto m = static_cast<MessageId>(l.messages.size());
  Message made;
  made.value = value;
  if (continues != nullptr) made.released = continues->released;  // MM2
  l.messages.push_back(std::move(made));
  l.order.insert(l.order.begin() + position, m);
  for (uint32_t p = position; p < l.order.size(); ++p) l.messages[l.order[p]].position = p;
  t.now.view.set(x, m);
  // What we, or our last release fence, knew. That the reader knows the message itself, learn() sees to.
  join(l.messages[m].released, releases(order) ? t.now : t.at_release);
  if (order == std::memory_order_seq_cst &&
      l.messages[m].position > l.messages[seq_cst_.of(x)].position) {
    seq_cst_.set(x, m);
  }
  ++changes_;
  return m;
}

void Memory::store(ThreadId id, LocationId x, uint64_t value, std::memory_order order) {
  const Location& l = locations_[x];
  const uint32_t lowest = floor(threads_[id], x, order == std::memory_order_seq_cst) + 1;
  std::vector<uint32_t> possible;  // the end first
  for (auto p = static_cast<uint32_t>(l.order.size()); p >= lowest; --p) {
    if (p < l.order.size() && l.messages[l.order[p - 1]].continued) continue;  // MM3
    possible.push_back(p);
  }
  const uint32_t at = possible[possible.size() == 1 || threads_[id].newest_only
                                   ? 0
                                   : oracle_(static_cast<uint32_t>(possible.size()))];
  last_was_stale_ = at != l.order.size();
  insert(id, x, value, at, order, nullptr);
}

uint64_t Memory::modify(ThreadId id, LocationId x, const std::function<uint64_t(uint64_t)>& change,
                        std::memory_order order) {
  Thread& t = threads_[id];
  const MessageId m = pick(t, x, order == std::memory_order_seq_cst,
                           [](const Message& c) { return !c.continued; });  // MM3
  learn(t, x, m, order);
  const Message read = locations_[x].messages[m];
  locations_[x].messages[m].continued = true;
  insert(id, x, change(read.value), read.position + 1, order, &read);
  return read.value;
}

bool Memory::compare_exchange(ThreadId id, LocationId x, uint64_t& expected, uint64_t desired,
                              std::memory_order success, std::memory_order failure) {
  Thread& t = threads_[id];
  // What is read decides; a message that holds the expected value must be free to continue (MM3).
  const MessageId m = pick(t, x, success == std::memory_order_seq_cst,
                           [&](const Message& c) { return c.value != expected || !c.continued; });
  const Message read = locations_[x].messages[m];
  if (read.value != expected) {
    learn(t, x, m, failure);
    expected = read.value;
    return false;
  }
  learn(t, x, m, success);
  locations_[x].messages[m].continued = true;
  insert(id, x, desired, read.position + 1, success, &read);
  return true;
}

void Memory::fence(ThreadId id, std::memory_order order) {
  Thread& t = threads_[id];
  if (acquires(order)) {
    join(t.now, t.to_acquire);
    t.to_acquire = Knowledge();
  }
  if (order == std::memory_order_seq_cst) {  // MM4
    join_view(t.now.view, seq_cst_);
    join_view(seq_cst_, t.now.view);
  }
  if (releases(order)) t.at_release = t.now;
}

}  // namespace model
