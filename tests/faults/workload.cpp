#include "workload.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "gort/gort.hpp"

namespace gort::faults {
namespace {

using namespace std::chrono_literals;

constexpr auto kLong = 20s;  // a limit that nothing reaches unless it hangs

// f() on the current fiber; what it throws is kept.
template <class F>
void part(Outcome& out, const char* name, F&& f) {
  try {
    f();
  } catch (const std::system_error& e) {
    out.refused(name, e);
  } catch (const std::exception& e) {
    out.wrong(name, std::string("threw ") + e.what());
  } catch (const stopped&) {
    out.wrong(name, "was stopped");
  }
}

void expect(Outcome& out, const char* name, bool right, const char* what) {
  if (!right) out.wrong(name, what);
}

void channels(Outcome& out) {
  constexpr int kRounds = 20;
  chan<int> there;
  chan<int> back(size_t{4});
  auto partner = spawn([&] {
    for (int i = 0; i < kRounds; ++i) back.send(*there.recv() + 1);
  });
  int sum = 0;
  for (int i = 0; i < kRounds; ++i) {
    there.send(i);
    sum += *back.recv();
  }
  partner.join();
  expect(out, "channels", sum == kRounds * (kRounds + 1) / 2, "the sum is wrong");
}

// More fibers than a batch of stacks has, some with stacks of another size. Those that were started
// before a refusal end all the same.
void crowd(Outcome& out) {
  std::atomic<int> ran{0};
  int started = 0;
  {
    std::vector<task<void>> tasks;
    part(out, "crowd", [&] {
      for (int i = 0; i < 70; ++i) {
        const size_t bytes = i % 10 == 9 ? 32 * 1024 : 0;
        tasks.push_back(spawn(attrs{.stack_size = bytes}, [&ran] {
          yield();
          ran.fetch_add(1);
        }));
        ++started;
      }
    });
    for (auto& t : tasks) t.join();
  }
  expect(out, "crowd", ran == started, "a fiber was lost");
}

void locks(Outcome& out) {
  mutex m;
  int count = 0;
  std::vector<task<void>> tasks;
  for (int i = 0; i < 4; ++i) {
    tasks.push_back(spawn([&] {
      for (int k = 0; k < 10; ++k) {
        const std::lock_guard guard(m);
        ++count;
        if (k == 5) yield();
      }
    }));
  }
  for (auto& t : tasks) t.join();
  expect(out, "locks", count == 40, "the count is wrong");
}

void timers(Outcome& out) {
  const auto begin = std::chrono::steady_clock::now();
  sleep_for(200us);
  expect(out, "timers", std::chrono::steady_clock::now() - begin >= 200us, "woken too early");
  chan<int> silent;
  int value = 0;
  expect(out, "timers", silent.recv_for(value, 100us) == op_status::timeout, "no timeout");
}

void block(Outcome& out) {
  std::atomic<bool> other_ran{false};
  auto other = spawn([&] { other_ran.store(true); });
  const int value = blocking([] {
    std::this_thread::yield();
    return 7;
  });
  other.join();
  expect(out, "blocking", value == 7 && other_ran, "wrong value, or the other has not run");
}

void stops(Outcome& out) {
  auto sleeper = spawn([] { sleep_for(kLong); });
  chan<int> silent;
  auto receiver = spawn([&] { (void)silent.recv(); });
  yield();
  sleeper.request_stop();
  receiver.request_stop();
  const auto begin = std::chrono::steady_clock::now();
  sleeper.join();
  receiver.join();
  expect(out, "stops", std::chrono::steady_clock::now() - begin < kLong, "a stop was not heard");
}

std::string read_all(net::tcp_stream& s) {
  std::string text;
  char buffer[64];
  while (const size_t n = s.read_some(buffer)) text.append(buffer, n);
  return text;
}

void echo(net::tcp_stream s) {
  s.set_deadline(std::chrono::steady_clock::now() + kLong);
  char buffer[64];
  std::error_code ec;
  while (const size_t n = s.read_some(buffer, ec)) {
    s.write(std::string_view(buffer, n), ec);
    if (ec) return;  // the client sees the connection end
  }
}

// The end of the accept loop's errors is the test's subject elsewhere; here it goes on.
void serve(Outcome& out, net::tcp_listener& listener) {
  for (;;) {
    std::error_code ec;
    net::tcp_stream peer = listener.accept(ec);
    if (ec == std::errc::operation_canceled) return;
    if (ec) {
      out.refused("accept", std::system_error(ec, "gort: accept"));
      sleep_for(100us);
      continue;
    }
    part(out, "echo", [&] { go(echo, std::move(peer)); });
  }
}

void ask(Outcome& out, const char* name, const net::endpoint& to) {
  auto s = net::tcp_stream::connect(to, std::chrono::steady_clock::now() + kLong);
  s.set_deadline(std::chrono::steady_clock::now() + kLong);
  (void)s.local_endpoint();
  const std::string text(300, 'x');
  s.write(text);
  s.shutdown_write();
  const std::string answer = read_all(s);
  // Less: the server's half was refused something, which the outcome has or has not heard of.
  if (answer != text) {
    expect(out, name, text.starts_with(answer), "wrong bytes");
    throw std::system_error(std::make_error_code(std::errc::connection_aborted), "ended early");
  }
}

void network(Outcome& out) {
  auto listener = net::tcp_listener::listen("127.0.0.1", 0);
  const net::endpoint at = listener.local_endpoint();
  auto server = spawn([&] { serve(out, listener); });
  {
    // A thread that is none of ours does the same.
    std::thread foreign([&] { part(out, "foreign", [&] { ask(out, "foreign", at); }); });
    part(out, "client", [&] { ask(out, "client", at); });
    blocking([&] { foreign.join(); });
  }
  // A deadline ends a read that nobody answers.
  part(out, "deadline", [&] {
    auto s = net::tcp_stream::connect(at);
    s.set_read_deadline(std::chrono::steady_clock::now() + 200us);
    char c;
    std::error_code ec;
    (void)s.read_some(std::span<char>(&c, 1), ec);
    if (ec && ec != std::errc::timed_out) throw std::system_error(ec, "gort: read");
  });
  listener.close();
  server.join();
}

}  // namespace

void Outcome::refused(const char* part, const std::system_error& e) {
  const std::lock_guard guard(lock_);
  refusals.push_back({part, e.code(), e.what()});
}

void Outcome::wrong(const char* part, const std::string& what) {
  const std::lock_guard guard(lock_);
  mistakes.push_back(std::string(part) + ": " + what);
}

std::string Outcome::text() const {
  std::string all;
  for (const Refusal& r : refusals) all += "  refused: " + r.part + ": " + r.what + "\n";
  for (const std::string& m : mistakes) all += "  mistake: " + m + "\n";
  return all;
}

void run_workload(Outcome& out, const options& o) {
  part(out, "run", [&] {
    run(o, [&out] {
      part(out, "channels", [&] { channels(out); });
      crowd(out);
      part(out, "locks", [&] { locks(out); });
      part(out, "timers", [&] { timers(out); });
      part(out, "blocking", [&] { block(out); });
      part(out, "stops", [&] { stops(out); });
      part(out, "network", [&] { network(out); });
      part(out, "stats", [&] { expect(out, "stats", stats().fibers >= 1, "no fiber"); });
    });
  });
}

}  // namespace gort::faults
