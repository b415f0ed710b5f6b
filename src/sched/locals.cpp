// A fiber's table of values. It belongs to the fiber alone, or to the thread that a stand-in G stands for, so nothing here
// is locked or atomic but the giving out of ids. Callers are outside of regions: values are made and destroyed by the program's code.
//
//   LO1  Ids are never used again. So what a fiber_local that has gone has left in some fiber's table is found by nobody, and a
//        place is compared by its id alone. Ids are counted, and places are theirs modulo the table's size, of which at most
//        half is used: a program's first so and so many fiber_locals have a place each, which get() looks at first.
//   LO2  At the end the value made last goes first. What its destructor makes is the last one then, and goes next.
//
// Rejected: an index per fiber_local, used again after its end (every fiber's old value had to be found and ended, or told from
// new ones by an id all the same); a tree or a list (get() would walk).
#include "sched/locals.hpp"

#include <memory>
#include <utility>

#include "base/mem.hpp"
#include "sched/current.hpp"

namespace gort {
namespace {

using detail::local_node;
using detail::local_table;

constexpr uint64_t kPlacesFirst = 8;
constexpr uint64_t kGone = UINT64_MAX;  // the id of a place whose value was ended before the others
constinit Atomic<uint64_t> next_local_id{1};

local_table::place* place_of(local_table* t, uint64_t id) noexcept {
  for (uint64_t i = id;; ++i) {
    local_table::place* p = &t->places[i & t->mask];
    if (p->id == id) return p;
    if (p->id == 0) return nullptr;
  }
}

void put(local_table* t, local_node* n) noexcept {
  uint64_t i = n->id;
  while (t->places[i & t->mask].id != 0) ++i;
  t->places[i & t->mask] = {n->id, n};
  ++t->used;
}

// Room for one more. What is gone makes room, too.
void grow(local_table* t) {
  if (t->places != nullptr && 2 * (t->used + 1) <= t->mask + 1) return;
  uint64_t values = 1;
  for (const local_node* n = t->last; n != nullptr; n = n->before) ++values;
  uint64_t size = kPlacesFirst;
  while (size < 2 * values) size *= 2;
  auto* const bigger = new local_table::place[size]();
  delete[] std::exchange(t->places, bigger);
  t->mask = size - 1;
  t->used = 0;
  for (local_node* n = t->last; n != nullptr; n = n->before) put(t, n);
}

void take_out(local_table* t, local_node* n) noexcept {
  local_node** at = &t->last;
  while (*at != n) at = &(*at)->before;
  *at = n->before;
  *place_of(t, n->id) = {kGone, nullptr};
}

}  // namespace

void end_locals_of(G* g) noexcept {
  local_table* t = g->locals;
  if (t == nullptr) return;
  while (local_node* n = t->last) {  // LO2
    take_out(t, n);
    n->destroy(n);
  }
  g->locals = nullptr;
  delete[] t->places;
  delete t;
}

namespace detail {

local_table* locals_here() noexcept {
  return current_g()->locals;
}

local_node* local_find(uint64_t id) noexcept {
  local_table* t = locals_here();
  const local_table::place* p = t != nullptr ? place_of(t, id) : nullptr;
  return p != nullptr ? p->node : nullptr;
}

void local_add(local_node* node) {
  G* g = current_g();
  if (g->locals == nullptr) {
    auto made = std::make_unique<local_table>();
    grow(made.get());
    g->locals = made.release();
  }
  local_table* t = g->locals;
  grow(t);
  node->before = t->last;
  t->last = node;
  put(t, node);
}

void local_end(uint64_t id) noexcept {
  local_node* n = local_find(id);
  if (n == nullptr) return;
  take_out(locals_here(), n);
  n->destroy(n);
}

void end_locals() noexcept {
  end_locals_of(current_g());
}

uint64_t new_local_id() noexcept {
  return next_local_id.fetch_add(1, std::memory_order_relaxed);  // relaxed: LO1, a number
}

}  // namespace detail
}  // namespace gort
