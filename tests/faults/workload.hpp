// workload: a small program that uses all of gort once, and knows what must come out. Tests run it
// under faults: each of its parts ends with the right result, or with a std::system_error that is
// kept for the test to judge. Nothing of it may outlive the run.
#pragma once

#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "gort/run.hpp"

namespace gort::faults {

class Outcome {
 public:
  struct Refusal {
    std::string part;
    std::error_code code;
    std::string what;
  };

  void refused(const char* part, const std::system_error& e);
  void wrong(const char* part, const std::string& what);

  std::vector<Refusal> refusals;      // clear errors
  std::vector<std::string> mistakes;  // wrong results, and exceptions of other kinds
  [[nodiscard]] std::string text() const;

 private:
  std::mutex lock_;
};

// Runs it once. A refusal of gort::run itself is the part "run".
void run_workload(Outcome& out, const options& o = {.procs = 2});

}  // namespace gort::faults
