#include "signal/sigtab.hpp"

#include "base/check.hpp"
#include "base/line.hpp"

namespace gort {
namespace {

// By numbers of this system, since they differ between processors.
const char* known_name(int sig) noexcept {
  constexpr struct {
    int sig;
    const char* name;
  } kNames[] = {
      {SIGHUP, "SIGHUP"},       {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},
      {SIGILL, "SIGILL"},       {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},
      {SIGBUS, "SIGBUS"},       {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"},
      {SIGUSR1, "SIGUSR1"},     {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
      {SIGPIPE, "SIGPIPE"},     {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
      {SIGCHLD, "SIGCHLD"},     {SIGCONT, "SIGCONT"}, {SIGSTOP, "SIGSTOP"},
      {SIGTSTP, "SIGTSTP"},     {SIGTTIN, "SIGTTIN"}, {SIGTTOU, "SIGTTOU"},
      {SIGURG, "SIGURG"},       {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"},
      {SIGVTALRM, "SIGVTALRM"}, {SIGPROF, "SIGPROF"}, {SIGWINCH, "SIGWINCH"},
      {SIGIO, "SIGIO"},         {SIGPWR, "SIGPWR"},   {SIGSYS, "SIGSYS"},
      {SIGSTKFLT, "SIGSTKFLT"},
  };
  for (const auto& known : kNames) {
    if (known.sig == sig) return known.name;
  }
  return nullptr;
}

bool refused_by_emulators(int sig) noexcept {
  constexpr int kCancel = 32;
  constexpr int kSetId = 33;
  return sig == kCancel || sig == kSetId || sig == kSignals;
}

}  // namespace

SignalName signame(int sig) noexcept {
  Line line;
  if (const char* known = known_name(sig); known != nullptr) {
    line.put(known);
  } else {
    line.put("signal ").put_number(sig);
  }
  SignalName name{};
  for (size_t i = 0; i < line.size() && i + 1 < sizeof name.text; ++i) {
    name.text[i] = line.text()[i];
  }
  return name;
}

bool ignored_by_default(int sig) noexcept {
  return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
}

bool stops_by_default(int sig) noexcept {
  return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

void sysSigaction(int sig, const os::SignalAction* action, os::SignalAction* old) noexcept {
  const int error = os::rt_sigaction(sig, action, old);
  if (error != 0 && !refused_by_emulators(sig)) {
    fatal_value("rt_sigaction failed", error, __FILE__, __LINE__);
  }
}

os::SignalAction our_action(SignalHandler handler) noexcept {
  os::SignalAction action;
  action.handler = handler;
  action.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  action.mask = kMaskedInHandlers;
  return action;
}

void setsig(int sig, SignalHandler handler, os::SignalAction* old, unsigned long flags) noexcept {
  os::SignalAction action = our_action(handler);
  action.flags |= flags;
  sysSigaction(sig, &action, old);
}

SignalHandler getsig(int sig) noexcept {
  os::SignalAction now;
  sysSigaction(sig, nullptr, &now);
  return now.handler;
}

bool sigFromUser(const siginfo_t& info) noexcept {
  return info.si_code <= 0;  // SI_USER, and all that only system calls can send
}

FaultCause fixsigcode(int sig, const siginfo_t& info) noexcept {
  const bool unknown =
      (sig == SIGSEGV || sig == SIGBUS) && info.si_code == SI_KERNEL && info.si_addr == nullptr;
  const auto address = reinterpret_cast<uintptr_t>(info.si_addr);
  return {unknown && sig == SIGSEGV ? SEGV_MAPERR : info.si_code, !unknown, address};
}

}  // namespace gort
