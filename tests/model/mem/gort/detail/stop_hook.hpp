// The models' hooks: takes the place of include/gort/detail/stop_hook.hpp. libstdc++ takes the checker's threads for one, so
// the end of one of its callbacks does not wait for a call that is under way; here it does, and the checker sees it.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "checker/atomic.hpp"
#include "sched/lock.hpp"

namespace gort::detail {

struct stop_call {
  void (*call)(void*) noexcept;
  void* arg;
  void operator()() const noexcept { call(arg); }
};

class stop_hook;

// What a std::stop_source is for a program; its token is a key. Where the shipped code has a std::stop_source itself (a
// fiber's, a task_group's), one of these stands behind it, which its request reaches by the only callback that it has.
class ModelStopSource {
 public:
  ModelStopSource() : key_(own_.get_token()) { all().known.push_back(this); }
  ModelStopSource(const ModelStopSource&) = delete;
  ModelStopSource& operator=(const ModelStopSource&) = delete;
  ~ModelStopSource() { std::erase(all().known, this); }
  [[nodiscard]] std::stop_token token() const { return key_; }
  void request_stop();

  static ModelStopSource& of(const std::stop_token& token) {
    Sources& sources = all();
    const auto at = std::find_if(sources.known.begin(), sources.known.end(),
                                 [&](ModelStopSource* s) { return s->key_ == token; });
    if (at != sources.known.end()) return **at;
    sources.behind.push_back(std::unique_ptr<ModelStopSource>(new ModelStopSource(token)));
    ModelStopSource& made = *sources.behind.back();
    made.listen_.emplace(token, [&made] { made.request_stop(); });
    return made;
  }
  // As with std::stop_source, who sees the request has seen what came before it.
  [[nodiscard]] bool requested() const { return requested_.load(std::memory_order_acquire); }

 private:
  friend class stop_hook;
  struct Sources {
    std::vector<ModelStopSource*> known;
    std::vector<std::unique_ptr<ModelStopSource>> behind;
  };
  explicit ModelStopSource(std::stop_token key) : own_(std::nostopstate), key_(std::move(key)) {
    all().known.push_back(this);
  }
  // Of this run.
  static Sources& all() {
    static Sources sources;
    static uint64_t run = 0;
    if (std::exchange(run, model::run_number()) != model::run_number()) {
      sources.known.clear();
      sources.behind.clear();
    }
    return sources;
  }

  const std::stop_source own_;
  const std::stop_token key_;
  std::optional<std::stop_callback<std::function<void()>>> listen_;
  model::atomic<bool> requested_{false};
  Lock lock_;
  std::vector<stop_hook*> hooks_;  // under lock_
};

class stop_hook {
 public:
  stop_hook(const std::stop_token& token, stop_call call)
      : source_(ModelStopSource::of(token)), call_(call) {
    source_.lock_.lock();
    const bool now = source_.requested();
    if (!now) source_.hooks_.push_back(this);
    source_.lock_.unlock();
    if (!now) return;
    call_();
    called_.set();
  }
  stop_hook(const stop_hook&) = delete;
  stop_hook& operator=(const stop_hook&) = delete;
  ~stop_hook() {
    source_.lock_.lock();
    const bool idle = std::erase(source_.hooks_, this) != 0;
    source_.lock_.unlock();
    if (!idle) called_.wait();
  }

 private:
  friend class ModelStopSource;
  ModelStopSource& source_;
  const stop_call call_;
  model::Event called_;
};

inline void ModelStopSource::request_stop() {
  lock_.lock();
  requested_.store(true, std::memory_order_release);  // as above
  while (!hooks_.empty()) {
    stop_hook* const h = hooks_.back();
    hooks_.pop_back();
    lock_.unlock();
    h->call_();
    h->called_.set();
    lock_.lock();
  }
  lock_.unlock();
}

[[nodiscard]] inline bool requested(const std::stop_token& token) noexcept {
  return ModelStopSource::of(token).requested();
}

}  // namespace gort::detail
