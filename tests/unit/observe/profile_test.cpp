// profile: what a CPU profile's file says is what ran; and what is left behind it: nothing.
#include "gort/profile.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/chan.hpp"
#include "gort/spawn.hpp"
#include "observe/objects.hpp"
#include "observe/pprof.hpp"
#include "os/os.hpp"
#include "support/burn.hpp"
#include "support/profile_reader.hpp"

namespace gort {
namespace {

using test::burn_here;
using test::ProfileFile;

#define SKIP_UNDER_TSAN() \
  if (test::kTsan) GTEST_SKIP() << "a profile is refused under ThreadSanitizer"

[[gnu::noinline]] void burn_three(int64_t ms) {
  burn_here(ms);
  asm volatile("# three");
}
[[gnu::noinline]] void burn_one(int64_t ms) {
  burn_here(ms);
  asm volatile("# one");
}
[[gnu::noinline]] void burn_below(int64_t ms, int depth) {
  if (depth == 0) {
    burn_one(ms);
  } else {
    burn_below(ms, depth - 1);
  }
  asm volatile("# below");  // no tail call
}
const void* address_of(void (*f)(int64_t)) {
  return reinterpret_cast<const void*>(f);
}

// Those of the profile: preemption has others.
int timers_of_this_process() {
  const std::string ours = "signal: " + std::to_string(SIGPROF) + "/";
  std::ifstream timers("/proc/self/timers");
  int n = 0;
  for (std::string line; std::getline(timers, line);) n += line.rfind(ours, 0) == 0 ? 1 : 0;
  return n;
}

class TemporaryFile {
 public:
  TemporaryFile() {
    char name[] = "/tmp/gort_profile_XXXXXX";
    const int fd = ::mkstemp(name);
    EXPECT_GE(fd, 0);
    ::close(fd);
    path_ = name;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] ProfileFile read() const { return test::read_profile(path_); }

 private:
  std::string path_;
};

// Ticks are as many as processor time says, but for the time of each thread before its first and behind its last. On a
// busy machine that is more than a tick of the kernel, which meets a thread only while it runs.
void expect_about(uint64_t samples, double wanted) {
  EXPECT_GE(static_cast<double>(samples), 0.8 * wanted - 2);
  EXPECT_LE(static_cast<double>(samples), 1.1 * wanted + 2);
}

TEST(Profile, TwoFibersThreeToOne) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  run(options{.procs = 2}, [&] {
    profile::cpu_start(file.path(), 100);
    auto three = spawn(attrs{.name = "three"}, [] { burn_three(900); });
    auto one = spawn(attrs{.name = "one"}, [] { burn_one(300); });
    three.join();
    one.join();
    profile::cpu_stop();
  });
  const ProfileFile p = file.read();
  EXPECT_EQ(p.sample_types, (std::vector<std::string>{"samples/count", "cpu/nanoseconds"}));
  EXPECT_EQ(p.period_ns, 10'000'000U);
  EXPECT_GT(p.duration_ns, 300'000'000U);
  expect_about(p.of_fiber("three"), 90);
  expect_about(p.of_fiber("one"), 30);
  expect_about(p.with(address_of(burn_three)), 90);
  expect_about(p.with(address_of(burn_one)), 30);
  for (const auto& s : p.samples) {
    EXPECT_EQ(s.ns, s.count * p.period_ns);
    if (ProfileFile::calls(s, address_of(burn_one))) {
      EXPECT_EQ(s.fiber, "one");
    }
    if (ProfileFile::calls(s, address_of(burn_three))) {
      EXPECT_EQ(s.fiber, "three");
    }
  }
}

// PF5: Ms by their timers, the others by the process's, nobody by both; whatever the rate.
TEST(Profile, AllProcessorTimeIsCountedOnce) {
  SKIP_UNDER_TSAN();
  for (const int hz : {100, 1000}) {
    SCOPED_TRACE(hz);
    const TemporaryFile file;
    const int64_t before_ns = test::cpu_ns();
    profile::cpu_start(file.path(), hz);
    std::thread outside([] { burn_three(400); });
    run(options{.procs = 2}, [] {
      auto a = spawn(attrs{.name = "inside"}, [] { burn_one(400); });
      burn_one(200);
      a.join();
    });
    outside.join();
    profile::cpu_stop();
    const double used_s = static_cast<double>(test::cpu_ns() - before_ns) / 1e9;
    const ProfileFile p = file.read();
    expect_about(p.with(address_of(burn_one)), 0.6 * hz);
    expect_about(p.of_fiber("inside"), 0.4 * hz);
    expect_about(p.of_fiber("main"), 0.2 * hz);
    expect_about(p.with(address_of(burn_three)), 0.4 * hz);
    EXPECT_GE(used_s, 1.0);
    // Writing it is not in it.
    EXPECT_LE(static_cast<double>(p.total()), 1.1 * used_s * hz + 2);
  }
}

// PF1: a fiber that never comes to a scheduling point, on the only P, is what one starts a profile for.
TEST(Profile, ReachesAHogThatRunsAlready) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  std::atomic<bool> hogs{false};
  std::thread profiler([&] {
    while (!hogs) std::this_thread::yield();
    const int timers = timers_of_this_process();
    profile::cpu_start(file.path());
    EXPECT_GE(timers_of_this_process(), timers + 1) << "the hog's";
    hogs = false;
  });
  run(options{.procs = 1}, [&] {
    hogs = true;
    while (hogs) {
    }
    burn_one(300);
  });
  profiler.join();
  profile::cpu_stop();
  expect_about(file.read().with(address_of(burn_one)), 30);
}

// PF4: from the burning function to the fiber's first frame, and no further.
TEST(Profile, ShowsWholeStacks) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  constexpr int kDepth = 10;
  run(options{.procs = 1}, [&] {
    profile::cpu_start(file.path(), 1000);
    burn_below(300, kDepth);
    profile::cpu_stop();
  });
  const ProfileFile p = file.read();
  uint64_t whole = 0;
  uint64_t all = 0;
  const void* first = nullptr;
  for (const auto& s : p.samples) {
    if (!ProfileFile::calls(s, address_of(burn_one))) continue;
    int below = 0;
    for (const uint64_t pc : s.pcs) {
      const void* const at = ProfileFile::function_of(pc);
      below += at == reinterpret_cast<const void*>(burn_below) ? 1 : 0;
    }
    all += s.count;
    if (first == nullptr) first = ProfileFile::function_of(s.pcs.back());
    const bool ends = first == ProfileFile::function_of(s.pcs.back());
    if (below == kDepth + 1 && ends) whole += s.count;
  }
  EXPECT_GE(all, 150U);
  // One that is interrupted while it returns from the last call has fewer.
  EXPECT_GE(whole + 5, all);
}

TEST(Profile, LabelsAFiberWithoutANameByItsNumber) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  uint64_t id = 0;
  run(options{.procs = 1}, [&] {
    profile::cpu_start(file.path());
    spawn([&] {
      id = this_fiber::id();
      burn_one(300);
    }).join();
    profile::cpu_stop();
  });
  expect_about(file.read().of_fiber(std::to_string(id)), 30);
}

TEST(Profile, NamesMappingsAndWhatTheLinkerKnows) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  profile::cpu_start(file.path(), 1000);
  burn_one(300);  // reads the clock, which lies in libc and in the vdso
  profile::cpu_stop();
  const ProfileFile p = file.read();
  ASSERT_FALSE(p.mappings.empty());
  std::string program(4096, '\0');
  const ssize_t n = ::readlink("/proc/self/exe", program.data(), program.size());
  ASSERT_GT(n, 0);
  program.resize(static_cast<size_t>(n));
  EXPECT_EQ(p.mappings[0].file, program) << "pprof takes the first one for the program";
  bool named = false;
  for (const auto& s : p.samples) {
    for (size_t i = 0; i < s.pcs.size(); ++i) {
      named = named || s.functions[i].find("clock_gettime") != std::string::npos;
      const uint64_t mapping = p.mapping_of.at(s.pcs[i]);
      ASSERT_GT(mapping, 0U);
      const auto& m = p.mappings.at(mapping - 1);
      EXPECT_GE(s.pcs[i], m.start);
      EXPECT_LT(s.pcs[i], m.end);
      if (ProfileFile::calls(s, address_of(burn_one)) && s.pcs.size() == 1) {
        EXPECT_EQ(m.file, program);
      }
    }
  }
  EXPECT_TRUE(named);
}

TEST(Profile, LeavesNothing) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  const test::Resources before;
  for (int i = 0; i < 3; ++i) {
    run(options{.procs = 2}, [&] {
      // Those of preemption: there is one for each M.
      const int timers = timers_of_this_process();
      profile::cpu_start(file.path());
      spawn([] { burn_one(20); }).join();
      EXPECT_GE(timers_of_this_process(), timers + 1);
      profile::cpu_stop();
      EXPECT_EQ(timers_of_this_process(), timers);
    });
    before.expect_unchanged();
  }
  struct sigaction now {};
  EXPECT_EQ(::sigaction(SIGPROF, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

// A runtime's threads take their timers along; the next one's get theirs.
TEST(Profile, GoesOnFromOneRuntimeToTheNext) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  const int timers = timers_of_this_process();
  profile::cpu_start(file.path());
  for (int i = 0; i < 2; ++i) {
    run(options{.procs = 2}, [&] {
      burn_one(150);
      EXPECT_GE(timers_of_this_process(), timers + 1);
    });
    EXPECT_EQ(timers_of_this_process(), timers);
  }
  profile::cpu_stop();
  expect_about(file.read().of_fiber("main"), 30);
}

std::set<std::string> threads_of_this_process() {
  std::set<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    all.insert(entry.path().filename());
  }
  return all;
}
uint64_t blocked_by(const std::string& thread) {
  std::ifstream in("/proc/self/task/" + thread + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("SigBlk:")) return std::stoull(line.substr(7), nullptr, 16);
  }
  return 0;
}

// A program that blocks a signal everywhere does not know of the profile's thread.
TEST(Profile, ItsThreadTakesNoSignals) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  const std::set<std::string> before = threads_of_this_process();
  profile::cpu_start(file.path());
  int more = 0;
  for (const std::string& thread : threads_of_this_process()) {
    if (before.contains(thread)) continue;
    ++more;
    test::until([&] { return os::thread_state(std::stoi(thread)) == 'S'; });  // it has begun
    EXPECT_NE(blocked_by(thread) & os::signal_bit(SIGTERM), 0U);
  }
  EXPECT_EQ(more, 1);
  profile::cpu_stop();
}

// FK2: the file is the parent's alone.
TEST(Profile, AForksChildDoesNotHoldTheFile) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  profile::cpu_start(file.path());
  const pid_t child = ::fork();
  if (child == 0) {
    int open = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;  // the directory's own
      if (std::filesystem::read_symlink(entry.path(), gone) == file.path()) ++open;
    }
    ::_exit(open);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  profile::cpu_stop();
}

TEST(Profile, SaysWhatIsWrong) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  EXPECT_NO_THROW(profile::cpu_stop()) << "none runs";
  EXPECT_THROW(profile::cpu_start(file.path(), 0), std::invalid_argument);
  EXPECT_THROW(profile::cpu_start(file.path(), -1), std::invalid_argument);
  EXPECT_THROW(profile::cpu_start(file.path(), 1001), std::invalid_argument);
  const test::Resources before;
  try {
    profile::cpu_start("/nonexistent/directory/file");
    ADD_FAILURE() << "there is no such directory";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::no_such_file_or_directory);
  }
  before.expect_unchanged();
  profile::cpu_start(file.path(), 1);
  EXPECT_THROW(profile::cpu_start(file.path()), std::logic_error);
  profile::cpu_stop();
  EXPECT_EQ(file.read().period_ns, 1'000'000'000U);
  EXPECT_EQ(::access("/dev/full", W_OK), 0);
  profile::cpu_start("/dev/full");
  try {
    profile::cpu_stop();
    ADD_FAILURE() << "it is full";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::no_space_on_device);
  }
  before.expect_unchanged();
  profile::cpu_start(file.path());
  profile::cpu_stop();
}

TEST(Profile, IsRefusedUnderThreadSanitizer) {
  if (!test::kTsan) GTEST_SKIP() << "without it, profiles work";
  try {
    profile::cpu_start("/dev/null");
    ADD_FAILURE() << "it began";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::not_supported);
  }
  profile::cpu_stop();
}

// The profile's own thread is no foreign one: with it, too, a deadlock is reported.
TEST(Profile, DoesNotHideADeadlock) {
  SKIP_UNDER_TSAN();
  const TemporaryFile file;
  EXPECT_EXIT(run([&] {
                profile::cpu_start(file.path());
                (void)chan<int>().recv();
              }),
              testing::ExitedWithCode(2), "gort: deadlock");
}

// ---- The format ----------------------------------------------------------------------------------------

TEST(Pprof, WhatIsWrittenIsRead) {
  const auto here = reinterpret_cast<uintptr_t>(burn_one);
  CpuSamples samples;
  samples.period_ns = 10'000'000;
  samples.began_unix_ns = 1'700'000'000'123'456'789;
  samples.duration_ns = 5'000'000'000;
  samples.lost = 7;
  samples.stacks.push_back({"", {here}, 3});
  samples.stacks.push_back({"a name", {here, 12345, here}, uint64_t{1} << 40});
  samples.stacks.push_back({"a name", {}, 1});
  const ProfileFile p = test::parse_profile(encode_cpu_profile(samples));
  ASSERT_EQ(p.samples.size(), 4U);
  EXPECT_EQ(p.samples[0].pcs, std::vector<uint64_t>{here});
  EXPECT_EQ(p.samples[0].fiber, "");
  EXPECT_EQ(p.samples[1].pcs, (std::vector<uint64_t>{here, 12345, here}));
  EXPECT_EQ(p.samples[1].count, uint64_t{1} << 40);
  EXPECT_EQ(p.samples[1].ns, 10'000'000 * (uint64_t{1} << 40));
  EXPECT_EQ(p.samples[1].fiber, "a name");
  EXPECT_EQ(p.samples[3].count, 7U);
  EXPECT_EQ(p.samples[3].functions, std::vector<std::string>{"gort: lost samples"});
  EXPECT_EQ(p.mapping_of.at(12345), 0U);
  EXPECT_EQ(p.time_ns, 1'700'000'000'123'456'789U);
  EXPECT_EQ(p.duration_ns, 5'000'000'000U);
}

TEST(Pprof, GzipGivesBackWhatItGot) {
  std::string text;
  for (int64_t i = 0; i < 300'000; ++i) text += std::to_string(i * i % 9973);
  const TemporaryFile file;
  for (const std::string& t : {std::string(), std::string("x"), text}) {
    const std::string packed = gzip(t);
    std::ofstream(file.path(), std::ios::binary) << packed;
    EXPECT_EQ(test::gunzip_file(file.path()), t);
  }
  EXPECT_LT(gzip(text).size(), text.size());
}

TEST(Objects, LinesOfMaps) {
  const auto m = parse_maps(
      "55d0c0000000-55d0c0001000 r--p 00000000 08:01 17   /bin/cat\n"
      "55d0c0001000-55d0c0005000 r-xp 00001000 08:01 17                         /bin/a b "
      "(deleted)\n"
      "7f0000000000-7f0000001000 r-xp 00000000 00:00 0 \n"
      "nonsense\n"
      "7f0000001000-7f0000002000 rwxp\n"
      "7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]\n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");
  ASSERT_EQ(m.size(), 2U);
  EXPECT_EQ(m[0].start, 0x55d0c0001000U);
  EXPECT_EQ(m[0].end, 0x55d0c0005000U);
  EXPECT_EQ(m[0].file_offset, 0x1000U);
  EXPECT_EQ(m[0].file, "/bin/a b (deleted)");
  EXPECT_EQ(m[1].file, "[vdso]");
}

TEST(Objects, MappingsHaveBuildIds) {
  const auto here = reinterpret_cast<uintptr_t>(&::remove);
  for (const CodeMapping& m : code_mappings()) {
    if (here < m.start || here >= m.end) continue;
    EXPECT_GE(m.build_id.size(), 16U) << m.file;
    EXPECT_EQ(m.build_id.find_first_not_of("0123456789abcdef"), std::string::npos);
    return;
  }
  ADD_FAILURE() << "libc is not mapped";
}

TEST(Objects, FunctionsOfLibrariesHaveNames) {
  const CodeFunction f = function_at(reinterpret_cast<uintptr_t>(&::remove) + 1);
  EXPECT_EQ(f.name, "remove");
  EXPECT_EQ(f.start, reinterpret_cast<uintptr_t>(&::remove));
  EXPECT_EQ(function_at(16).name, "");
}

}  // namespace
}  // namespace gort
