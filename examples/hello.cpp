// hello: two fibers, a channel between them, and a receive that does not wait for ever.
#include <chrono>
#include <cstdio>
#include <gort/gort.hpp>
#include <string>

using namespace std::chrono_literals;

// Sends a few words, and after a pause that is longer than the listener's patience the last one.
int say_hello(const gort::chan<std::string>& words) {
  int sent = 0;
  for (const char* word : {"Hello", "from", "a", "fiber."}) {
    words.send(word);
    ++sent;
  }
  gort::sleep_for(60ms);
  words.send("Bye.");
  words.close();
  return sent + 1;
}

int main() {
  gort::run([] {
    gort::chan<std::string> words;
    auto speaker = gort::spawn(say_hello, words);
    for (;;) {
      std::string word;
      const gort::op_status status = words.recv_for(word, 20ms);
      if (status == gort::op_status::closed) break;
      std::printf("%s\n", status == gort::op_status::ok ? word.c_str() : "(silence for 20 ms)");
    }
    std::printf("%d words\n", speaker.get());
  });
}
