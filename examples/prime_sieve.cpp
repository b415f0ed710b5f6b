// prime_sieve: the first primes, by a chain of fibers, one for each prime.
//
//     prime_sieve [COUNT]        20 if none is given
//
//     numbers --2 3 4 5 6...--> drop those of 2 --3 5 7 9...--> drop those of 3 --5 7 11...--> ...
//
// What comes first out of the chain is the next prime, which then gets a fiber of its own at its
// end. Each number is handed from fiber to fiber through unbuffered channels: fibers and channels
// are cheap enough for that, and it is why the chain does not run ahead of who reads it. Not the
// fastest way to primes.
#include <cstdio>
#include <exception>
#include <gort/gort.hpp>

#include "arguments.hpp"

namespace {

// 2, 3, 4... for as long as somebody takes them. Nobody has to tell it when to end: when the run
// does, the fiber is asked to stop, and then the send that waits for a taker throws gort::stopped.
void count_up(const gort::sender<int>& numbers) {
  for (int n = 2;; ++n) numbers.send(n);
}

// Hands on what `prime` does not divide. Ends as count_up() does.
void sift(int prime, const gort::receiver<int>& in, const gort::sender<int>& out) {
  for (const int n : in) {
    if (n % prime != 0) out.send(n);
  }
}

void print_primes(int count) {
  gort::chan<int> in;
  gort::go(count_up, in);
  for (int i = 0; i < count; ++i) {
    const int prime = in.recv().value();  // of a channel that nobody closes
    std::printf("%d\n", prime);
    const gort::chan<int> out;
    gort::go(sift, prime, in, out);
    in = out;
  }
}

}  // namespace

int main(int argc, char** argv) try {
  examples::check_count(argc, 1, "prime_sieve [COUNT]");
  const int count = examples::parse(argc, argv, 1, {"COUNT", 1, 5000, 20});
  gort::run(print_primes, count);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "prime_sieve: %s\n", error.what());
  return 1;
}
