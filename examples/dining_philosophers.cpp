// dining_philosophers: who needs two locks at once, and how nobody starves.
//
//     dining_philosophers [PHILOSOPHERS [MEALS]]        5 and 3 if none are given
//
// Philosophers sit around a table, with a fork between each two. To eat takes both forks beside the
// plate. If everybody took the left one first, all could hold one and wait for the other for ever,
// which gort would report as a deadlock. Here everybody takes the one with the lower number first:
// who holds the highest fork of all that are held waits for nobody, so somebody always eats.
// (std::scoped_lock of both would do, too: it takes them in any order, but never waits while it
// holds one.)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <gort/gort.hpp>
#include <mutex>
#include <string>
#include <vector>

#include "arguments.hpp"

namespace {

using namespace std::chrono_literals;

struct Fork {
  gort::mutex held;  // fibers may sleep and change threads while they hold it
  int meals = 0;     // guarded by held
};

// Eats so many times, and says so after each.
void dine(const std::string& name, int meals, Fork& low, Fork& high,
          const gort::sender<std::string>& news) {
  for (int i = 1; i <= meals; ++i) {
    gort::sleep_for(1ms);  // thinks
    {
      const std::lock_guard first(low.held);
      gort::yield();  // others are as quick: in the wrong order, this is where all would get stuck
      const std::lock_guard second(high.held);
      gort::sleep_for(1ms);  // eats
      ++low.meals;
      ++high.meals;
    }
    news.send(name + " has eaten " + std::to_string(i) + " of " + std::to_string(meals));
  }
}

void dinner(int philosophers, int meals) {
  std::vector<Fork> forks(static_cast<size_t>(philosophers));
  gort::chan<std::string> news;
  // All that the guests refer to stands above them: at the end of this block, also by an exception,
  // they have gone.
  std::vector<gort::task<void>> table;
  for (size_t i = 0; i < forks.size(); ++i) {
    const auto [low, high] = std::minmax({i, (i + 1) % forks.size()});
    table.push_back(gort::spawn(dine, "Philosopher " + std::to_string(i), meals,
                                std::ref(forks[low]), std::ref(forks[high]), news));
  }
  // One fiber prints, so that lines do not mix.
  for (int left = philosophers * meals; left > 0; --left) {
    std::printf("%s\n", news.recv()->c_str());
  }
  for (auto& guest : table) guest.get();
  for (size_t i = 0; i < forks.size(); ++i) {
    std::printf("Fork %zu was used for %d meals\n", i, forks[i].meals);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  examples::check_count(argc, 2, "dining_philosophers [PHILOSOPHERS [MEALS]]");
  const int philosophers = examples::parse(argc, argv, 1, {"PHILOSOPHERS", 2, 1000, 5});
  const int meals = examples::parse(argc, argv, 2, {"MEALS", 1, 10'000, 3});
  gort::run(dinner, philosophers, meals);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "dining_philosophers: %s\n", error.what());
  return 1;
}
