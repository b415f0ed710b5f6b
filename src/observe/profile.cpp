// profile: the CPU profile's life (gort/profile.hpp). A thread of its own takes the samples out of the handlers' queue
// while the profile runs, and counts equal ones; cpu_stop() writes them.
//
// The profile belongs to the process, not to a runtime: a runtime that ends takes its Ms' timers along (roll.hpp), and the
// next one's Ms get theirs.
#include "gort/profile.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/mutex.hpp"
#include "observe/pprof.hpp"
#include "os/os.hpp"
#include "sched/fork.hpp"
#include "sched/note.hpp"
#include "sched/sanitizer.hpp"
#include "sched/sched.hpp"
#include "signal/prof.hpp"
#include "signal/unwind.hpp"

namespace gort {
namespace {

constexpr int kHzMax = 1000;
constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kCollectEveryNs = 50'000'000;  // samples.hpp says what the queue holds meanwhile
constexpr size_t kCollectorStackBytes = size_t{256} << 10;
constexpr mode_t kFileMode = 0666;  // less the umask

struct Stack {
  std::string fiber;
  std::vector<uintptr_t> pcs;
  bool operator==(const Stack&) const = default;
};
struct StackHash {
  size_t operator()(const Stack& s) const noexcept {
    size_t h = std::hash<std::string>()(s.fiber);
    for (const uintptr_t pc : s.pcs) h = (h ^ pc) * 0x9e3779b97f4a7c15ULL;
    return h;
  }
};

std::string label_of(const Sample& s) {
  if (s.name[0] != '\0') return static_cast<const char*>(s.name);
  return s.fiber != 0 ? std::to_string(s.fiber) : std::string();
}

class CpuProfile {
 public:
  CpuProfile(const std::string& path, int hz);
  ~CpuProfile();
  CpuProfile(const CpuProfile&) = delete;
  CpuProfile& operator=(const CpuProfile&) = delete;

  void begin();
  void end() noexcept;  // no more samples
  void write();
  void close_in_child() const noexcept { os::fd_close(fd_); }

 private:
  static void collector_main(void* self) noexcept;
  void collect() noexcept;
  void add(const Sample& s);

  const std::string path_;
  const int hz_;
  int fd_ = -1;
  Samples* queue_;
  // The collector's until it has ended, then the owner's.
  std::unordered_map<Stack, uint64_t, StackHash> counts_;
  uint64_t lost_ = 0;
  std::chrono::system_clock::time_point began_at_;
  int64_t began_ns_ = 0;
  int64_t ended_ns_ = 0;

  os::mOS collector_;
  Note collector_note_;
  Atomic<bool> over_{false};
};

CpuProfile::CpuProfile(const std::string& path, int hz) : path_(path), hz_(hz) {
  os::osinit();
  prepare_unwind();
  void* const memory = os::mem_map(sizeof(Samples));
  if (memory == nullptr) {
    throw std::system_error(ENOMEM, std::generic_category(), "gort: the samples of a profile");
  }
  queue_ = new (memory) Samples;
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kFileMode);
  if (fd_ < 0) {
    const int error = errno;
    os::mem_unmap(queue_, sizeof(Samples));
    throw std::system_error(error, std::generic_category(), "gort: the profile " + path);
  }
}

CpuProfile::~CpuProfile() {
  os::mem_unmap(queue_, sizeof(Samples));
  os::fd_close(fd_);
}

void CpuProfile::begin() {
  int error = os::newosproc0(collector_, kCollectorStackBytes, collector_main, this);
  if (error != 0) {
    throw std::system_error(-error, std::generic_category(), "gort: no thread for a profile");
  }
  house_threads.made();
  began_at_ = std::chrono::system_clock::now();
  began_ns_ = os::nanotime();
  (void)take_lost();
  set_samples(queue_);
  error = setProcessCPUProfiler(hz_);
  if (error != 0) {
    end();
    throw std::system_error(-error, std::generic_category(), "gort: no signals for a profile");
  }
}

void CpuProfile::end() noexcept {
  (void)setProcessCPUProfiler(0);
  ended_ns_ = os::nanotime();
  set_samples(nullptr);
  house_threads.will_end();
  over_.store(true, std::memory_order_relaxed);  // relaxed: the note follows
  collector_note_.wake();
  blocking([this] { os::mdestroy(collector_); });
  collect();
  lost_ += take_lost();
}

void CpuProfile::collector_main(void* self) noexcept {
  auto& profile = *static_cast<CpuProfile*>(self);
  os::minitHouse(profile.collector_);
  while (!profile.over_.load(std::memory_order_relaxed)) {  // relaxed: looked at again and again
    (void)profile.collector_note_.sleep_for(kCollectEveryNs);
    profile.collect();
  }
}

void CpuProfile::collect() noexcept {
  bool more = true;
  while (more) more = queue_->pop([this](const Sample& s) { add(s); });
}

void CpuProfile::add(const Sample& s) {
  try {
    Stack stack{label_of(s), {s.pcs, s.pcs + s.depth}};
    counts_[std::move(stack)] += s.weight;
  } catch (const std::bad_alloc&) {
    lost_ += s.weight;
  }
}

void CpuProfile::write() {
  CpuSamples samples;
  samples.lost = lost_;
  samples.period_ns = kNsPerSecond / hz_;
  samples.began_unix_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(began_at_.time_since_epoch()).count();
  samples.duration_ns = ended_ns_ - began_ns_;
  for (const auto& [stack, count] : counts_)
    samples.stacks.push_back({stack.fiber, stack.pcs, count});
  const std::string text = gzip(encode_cpu_profile(samples));
  for (size_t done = 0; done < text.size();) {
    const long n = os::fd_write(fd_, text.data() + done, text.size() - done);
    if (n == -EINTR) continue;
    if (n < 0) {
      throw std::system_error(static_cast<int>(-n), std::generic_category(),
                              "gort: the profile " + path_);
    }
    done += static_cast<size_t>(n);
  }
}

// Protected by the mutex. Not destroyed at the process's end: a collector may still run.
mutex running_mutex;
CpuProfile* running = nullptr;

// FK2 in fork.hpp: it goes on in the parent alone, which writes it.
const bool forgets_profile = on_fork([]() noexcept {
  new (&running_mutex) mutex;
  if (running != nullptr) running->close_in_child();
  running = nullptr;
});

}  // namespace

namespace profile {

void cpu_start(const std::string& path, int hz) {
  if (hz < 1 || hz > kHzMax) {
    throw std::invalid_argument("gort: a CPU profile takes from 1 to 1000 samples a second");
  }
  if (after_fork) throw std::logic_error("gort: no CPU profile in the child of a fork");
  if (kSanitizerThreads != 0) {
    throw std::system_error(std::make_error_code(std::errc::not_supported),
                            "gort: a CPU profile under ThreadSanitizer");
  }
  const std::lock_guard guard(running_mutex);
  if (running != nullptr) throw std::logic_error("gort: a CPU profile runs already");
  auto profile = blocking([&] { return std::make_unique<CpuProfile>(path, hz); });
  profile->begin();
  running = profile.release();
}

void cpu_stop() {
  const std::lock_guard guard(running_mutex);
  const std::unique_ptr<CpuProfile> profile(std::exchange(running, nullptr));
  if (profile == nullptr) return;
  profile->end();
  blocking([&] { profile->write(); });
}

}  // namespace profile
}  // namespace gort
