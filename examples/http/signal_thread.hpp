// signal_thread: a thread that waits for SIGINT or SIGTERM and then calls a function, once.
#pragma once

#include <pthread.h>

#include <csignal>
#include <thread>

namespace http {

class SignalThread {
 public:
  // The signals must not reach any other thread: call this in main() before there are any.
  static void block() noexcept {
    const sigset_t set = signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }

  template <class F>
  explicit SignalThread(F f)
      : thread_([f] {
          const sigset_t set = signals();
          int number = 0;
          ::sigwait(&set, &number);
          f();
        }) {}
  // Ends the thread if no signal has come.
  ~SignalThread() {
    // NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread): the thread takes it in sigwait()
    ::pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  static sigset_t signals() noexcept {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
  }

  std::thread thread_;
};

}  // namespace http
