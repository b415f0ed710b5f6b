// crew: 64 clients of a server at work, as fibers on two Ps and as threads, in turn, and what is asked of the fibers:
//
//   as much work done as by threads, nearly; a fiber that sleeps beside them is not held up; every answer is right.
//
// The clients are synchronous libraries that know nothing of gort: their calls block the thread.
#pragma once

#include <functional>
#include <string>

namespace clients {

// One command and the check of its answer; the number of the turn goes in. Returns what was wrong, or nothing.
using Session = std::function<std::string(int turn)>;
// Connects the client of that number. Throws std::runtime_error.
using Connect = std::function<Session(int client)>;

// Runs both, three times each. Fails the test, with the figures, if the fibers' rate is less than that of the threads
// times kRateMin at the median; if a fiber that sleeps beside the fibers is late by more than kP99MsMax at the 99th
// percentile, or at worst by kMaxMsMax more than a thread that sleeps beside the threads, which waits for its turn, too,
// where the server has a process for each client; or if anything was wrong.
void expect_fibers_to_do_as_threads(const char* name, int turns, const Connect& connect);

inline constexpr int kClients = 64;
inline constexpr int kProcs = 2;
inline constexpr double kRateMin = 0.7;
inline constexpr double kP99MsMax = 20;
inline constexpr double kMaxMsMax = 100;

}  // namespace clients
