// stats_json: the scheduler's counters as JSON, and as a line for a log.
#pragma once

#include <gort/gort.hpp>
#include <string>
#include <string_view>

namespace http {

// calls f(name, value) for every plain counter.
template <class Stats, class F>
void for_each_counter(const Stats& s, F&& f) {
  f("fibers", s.fibers);
  f("spawned", s.spawned);
  f("switches", s.switches);
  f("steals", s.steals);
  f("parks", s.parks);
  f("wakes", s.wakes);
  f("preemptions", s.preemptions);
  f("handoffs", s.handoffs);
  f("threads", s.threads);
  f("idle_threads", s.idle_threads);
  f("stack_bytes_reserved", s.stack_bytes_reserved);
  f("stack_bytes_resident", s.stack_bytes_resident);
}

template <class Stats>
std::string to_json(const Stats& s) {
  std::string json = "{\n";
  for_each_counter(s, [&](const char* name, auto value) {
    json.append("  \"").append(name).append("\": ").append(std::to_string(value)).append(",\n");
  });
  json += "  \"procs\": [";
  const char* separator = "";
  for (const auto& p : s.procs) {
    json.append(separator).append("{\"runq\": ").append(std::to_string(p.runq)).append("}");
    separator = ", ";
  }
  return json.append("],\n  \"thread_backend\": \"").append(s.thread_backend).append("\"\n}\n");
}

template <class Stats>
std::string to_line(const Stats& s) {
  std::string line;
  for_each_counter(s, [&](const char* name, auto value) {
    line.append(line.empty() ? "" : " ").append(name).append("=").append(std::to_string(value));
  });
  return line;
}

}  // namespace http
