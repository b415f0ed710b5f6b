// A user's program: it knows nothing of gort but the installed package.
#include <gort/gort.hpp>
#include <optional>

int main() {
  return gort::run([] {
    gort::chan<int> answers;
    gort::go([answers]() mutable { answers.send(42); });
    std::optional<int> answer = answers.recv();
    return answer == 42 ? 0 : 1;
  });
}
