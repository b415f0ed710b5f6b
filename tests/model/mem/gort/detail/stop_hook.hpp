// The models' hooks: takes the place of include/gort/detail/stop_hook.hpp. libstdc++ takes the checker's threads for one, so
// the end of one of its callbacks does not wait for a call that is under way; here it does, and the checker sees it.
#pragma once

#include <algorithm>
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

// What a std::stop_source is for a program; its token is a key.
class ModelStopSource {
 public:
  ModelStopSource() { all().push_back(this); }
  ModelStopSource(const ModelStopSource&) = delete;
  ModelStopSource& operator=(const ModelStopSource&) = delete;
  ~ModelStopSource() { std::erase(all(), this); }
  [[nodiscard]] std::stop_token token() const { return key_.get_token(); }
  void request_stop();

  static ModelStopSource& of(const std::stop_token& token) {
    return **std::find_if(all().begin(), all().end(),
                          [&](ModelStopSource* s) { return s->token() == token; });
  }
  // As with std::stop_source, who sees the request has seen what came before it.
  [[nodiscard]] bool requested() const { return requested_.load(std::memory_order_acquire); }

 private:
  friend class stop_hook;
  static std::vector<ModelStopSource*>& all() {
    static std::vector<ModelStopSource*> sources;
    static uint64_t run = 0;
    if (std::exchange(run, model::run_number()) != model::run_number()) sources.clear();
    return sources;
  }

  const std::stop_source key_;
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
