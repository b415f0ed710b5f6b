// cpu and cgroup: how many processors are ours. The cgroup tests bring their own machines as text.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "os/linux/cgroup.hpp"
#include "os/linux/internal.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

// ---- a machine made of text ---------------------------------------------------------------------

using Files = std::map<std::string, std::string>;

long read_from_map(void* context, const char* path, size_t offset, std::span<char> out) noexcept {
  const Files& files = *static_cast<const Files*>(context);
  const auto it = files.find(path);
  if (it == files.end()) return -ENOENT;
  if (offset >= it->second.size()) return 0;
  const size_t n = std::min(out.size(), it->second.size() - offset);
  std::memcpy(out.data(), it->second.data() + offset, n);
  return static_cast<long>(n);
}

uint64_t quota_on(Files files) {
  return cgroup_cpu_quota({read_from_map, &files});
}

const char kV2Mount[] =
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "35 22 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const char kV1Mount[] =
    "40 25 0:34 / /sys/fs/cgroup/memory rw shared:14 - cgroup cgroup rw,memory\n"
    "41 25 0:35 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n";

TEST(Cgroup, QuotaIsRoundedUp) {
  EXPECT_EQ(quota_in_cpus({150'000, 100'000}), 2u);
  EXPECT_EQ(quota_in_cpus({200'000, 100'000}), 2u);
  EXPECT_EQ(quota_in_cpus({1'000, 100'000}), 1u);
  EXPECT_EQ(quota_in_cpus({100'001, 100'000}), 2u);
  EXPECT_EQ(quota_in_cpus({0, 100'000}), 0u);
  EXPECT_EQ(quota_in_cpus({100, 0}), 0u);
  EXPECT_EQ(quota_in_cpus({~uint64_t{0}, 2}), (~uint64_t{0} >> 1) + 1);
}

TEST(Cgroup, CpuMaxText) {
  EXPECT_EQ(parse_cpu_max("max 100000\n").quota_us, 0u);
  EXPECT_EQ(parse_cpu_max("150000 100000\n").quota_us, 150'000u);
  EXPECT_EQ(parse_cpu_max("150000 100000\n").period_us, 100'000u);
  for (const char* bad : {"", "\n", "150000", "150000 ", "-1 100000", "1.5 100000",
                          "150000 100000 7", "99999999999999999999 100000", "150000 -1"}) {
    EXPECT_EQ(quota_in_cpus(parse_cpu_max(bad)), 0u) << bad;
  }
}

TEST(Cgroup, CfsText) {
  EXPECT_EQ(quota_in_cpus(parse_cfs("250000\n", "100000\n")), 3u);
  EXPECT_EQ(quota_in_cpus(parse_cfs("-1\n", "100000\n")), 0u);
  EXPECT_EQ(quota_in_cpus(parse_cfs("250000\n", "")), 0u);
  EXPECT_EQ(quota_in_cpus(parse_cfs("", "100000")), 0u);
}

TEST(Cgroup, LinesOfProcCgroup) {
  EXPECT_EQ(parse_cgroup_line("0::/user.slice/a").version, CgroupVersion::v2);
  EXPECT_EQ(parse_cgroup_line("0::/user.slice/a").path, "/user.slice/a");
  EXPECT_EQ(parse_cgroup_line("4:cpu,cpuacct:/docker/x").version, CgroupVersion::v1);
  EXPECT_EQ(parse_cgroup_line("4:cpu,cpuacct:/docker/x:y").path, "/docker/x:y");
  EXPECT_EQ(parse_cgroup_line("1:cpu:/").path, "/");
  for (const char* other :
       {"3:cpuset:/", "2:cpuacct:/", "9:name=systemd:/", "", "0::", "x", "0:::"}) {
    EXPECT_EQ(parse_cgroup_line(other).version, CgroupVersion::none) << other;
  }
  EXPECT_EQ(parse_cgroup_line({"0::/a\0b", 7}).version, CgroupVersion::none);
}

TEST(Cgroup, LinesOfMountinfo) {
  const CgroupMount v2 = parse_mountinfo_line(
      "35 22 0:30 /docker/a /sys/fs/cgroup rw,nosuid shared:9 master:1 - cgroup2 cgroup2 rw");
  EXPECT_EQ(v2.version, CgroupVersion::v2);
  EXPECT_EQ(v2.root, "/docker/a");
  EXPECT_EQ(v2.mount_point, "/sys/fs/cgroup");
  EXPECT_EQ(parse_mountinfo_line("41 25 0:35 / /c rw - cgroup none rw,cpuacct,cpu").version,
            CgroupVersion::v1);
  for (const char* other : {"40 25 0:34 / /c rw - cgroup cgroup rw,memory,cpuset", "", " - ",
                            "41 25 0:35 / /c rw - ext4 cgroup2 rw,cpu", "41 25 / /c rw cgroup2",
                            " - cgroup2 cgroup2 rw", "35 22 0:30 / c rw - cgroup2 cgroup2 rw"}) {
    EXPECT_EQ(parse_mountinfo_line(other).version, CgroupVersion::none) << other;
  }
}

TEST(Cgroup, MountPathsAreUnescaped) {
  char out[16];
  const auto unescaped = [&](std::string_view in) {
    return std::string(out, unescape_mount_path(in, out));
  };
  EXPECT_EQ(unescaped("/a\\040b"), "/a b");
  EXPECT_EQ(unescaped("/a\\134"), "/a\\");
  EXPECT_EQ(unescaped("/a\\04"), "/a\\04");
  EXPECT_EQ(unescaped("/a\\"), "/a\\");
  EXPECT_EQ(unescaped("/0123456789abcdefg"), "");  // does not fit
  EXPECT_EQ(unescaped("/a\\000b"), "/a\\000b");    // a path that ended there would be another one
  EXPECT_EQ(unescaped("/a\\777b"), "/a\\777b");    // no byte
}

TEST(Cgroup, DirectoryBelowTheMount) {
  char out[64];
  const auto directory = [&](std::string_view root, std::string_view path) {
    return std::string(out, cgroup_directory("/cg", root, path, out));
  };
  EXPECT_EQ(directory("/", "/"), "/cg");
  EXPECT_EQ(directory("/", "/a/b"), "/cg/a/b");
  EXPECT_EQ(directory("/docker/x", "/docker/x"), "/cg");
  EXPECT_EQ(directory("/docker/x", "/docker/x/y"), "/cg/y");
  EXPECT_EQ(directory("/docker/x", "/docker/xy"), "/cg");  // a sibling that begins alike
  EXPECT_EQ(directory("/docker/x", "/other"), "/cg");
  EXPECT_EQ(directory("/", "/../outside"), "/cg");
  EXPECT_EQ(directory("/", "/a/../../../etc"), "/cg");
  EXPECT_EQ(directory("/", "/a/.."), "/cg");
  EXPECT_EQ(directory("/", "/..a/b"), "/cg/..a/b");  // a name like any other
  EXPECT_EQ(cgroup_directory("/cg", "/", std::string(100, '/'), out), 0u);
}

TEST(Cgroup, OwnGroupOnV2) {
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "0::/a/b\n"},
                      {"/proc/self/mountinfo", kV2Mount},
                      {"/sys/fs/cgroup/a/b/cpu.max", "250000 100000\n"}}),
            3u);
}

TEST(Cgroup, AFileThatIsTooLongSaysNothing) {
  const std::string zeros(60, '0');
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "0::/\n"},
                      {"/proc/self/mountinfo", kV2Mount},
                      {"/sys/fs/cgroup/cpu.max", "200000 " + zeros + "100000\n"}}),
            0u);
}

// CG2.
TEST(Cgroup, TheSmallestOfAllAncestors) {
  Files files{{"/proc/self/cgroup", "0::/a/b/c\n"},
              {"/proc/self/mountinfo", kV2Mount},
              {"/sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n"},
              {"/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
              {"/sys/fs/cgroup/a/cpu.max", "200000 100000\n"}};
  EXPECT_EQ(quota_on(files), 2u);
  files["/sys/fs/cgroup/cpu.max"] = "50000 100000\n";  // the mount point itself, in a namespace
  EXPECT_EQ(quota_on(files), 1u);
}

TEST(Cgroup, ContainerWithoutNamespace) {
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "0::/docker/x\n"},
                      {"/proc/self/mountinfo",
                       "35 22 0:30 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
                      {"/sys/fs/cgroup/cpu.max", "100000 100000\n"}}),
            1u);
}

TEST(Cgroup, V1) {
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/d/x\n"},
                      {"/proc/self/mountinfo", kV1Mount},
                      {"/sys/fs/cgroup/cpu,cpuacct/d/x/cpu.cfs_quota_us", "-1\n"},
                      {"/sys/fs/cgroup/cpu,cpuacct/d/x/cpu.cfs_period_us", "100000\n"},
                      {"/sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us", "150000\n"},
                      {"/sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us", "50000\n"}}),
            3u);
}

TEST(Cgroup, HybridTakesTheSmaller) {
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "4:cpu:/d\n0::/u\n"},
                      {"/proc/self/mountinfo", std::string(kV1Mount) + kV2Mount},
                      {"/sys/fs/cgroup/u/cpu.max", "400000 100000\n"},
                      {"/sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us", "200000\n"},
                      {"/sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us", "100000\n"}}),
            2u);
}

// CG3.
TEST(Cgroup, NothingToReadIsNoLimit) {
  EXPECT_EQ(quota_on({}), 0u);
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "0::/a\n"}}), 0u);
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "0::/a\n"}, {"/proc/self/mountinfo", kV2Mount}}), 0u);
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", ""}, {"/proc/self/mountinfo", ""}}), 0u);
}

TEST(Cgroup, LongLinesAndLongFilesAreReadThrough) {
  std::string mounts = "9 9 0:1 / /" + std::string(10'000, 'x') + " rw - tmpfs t rw\n";
  for (int i = 0; i < 500; i++) {
    mounts += std::to_string(i) + " 1 0:7 / /m" + std::to_string(i) + " rw - tmpfs t rw\n";
  }
  mounts += kV2Mount;
  mounts.pop_back();  // the last line without its newline
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "0::/a"},
                      {"/proc/self/mountinfo", mounts},
                      {"/sys/fs/cgroup/a/cpu.max", "100000 100000"}}),
            1u);
}

TEST(Cgroup, EveryCutOfALineAtTheBufferEnd) {
  // The mount line's end meets the end of the 4 KiB buffer at every offset.
  for (size_t pad = 3900; pad < 4100; pad++) {
    const std::string first = "1 1 0:1 / /" + std::string(pad - 40, 'p') + " rw - tmpfs t rw\n";
    ASSERT_EQ(quota_on({{"/proc/self/cgroup", "0::/a\n"},
                        {"/proc/self/mountinfo", first + kV2Mount},
                        {"/sys/fs/cgroup/a/cpu.max", "100000 100000"}}),
              1u)
        << pad;
  }
}

TEST(Cgroup, OversizedGroupPathIsNoLimit) {
  EXPECT_EQ(quota_on({{"/proc/self/cgroup", "0::/" + std::string(3'000, 'g') + "\n"},
                      {"/proc/self/mountinfo", kV2Mount}}),
            0u);
}

// ---- this machine -------------------------------------------------------------------------------

TEST(Cpu, AffinityAgreesWithLibc) {
  cpu_set_t set;
  CPU_ZERO(&set);
  ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
  unsigned long mask[1024] = {};
  const int bytes = sched_getaffinity(0, mask);
  ASSERT_GT(bytes, 0);
  int count = 0;
  for (unsigned long word : mask) count += __builtin_popcountl(word);
  EXPECT_EQ(count, CPU_COUNT(&set));
}

TEST(Cpu, AffinityErrorsAreNegativeErrno) {
  EXPECT_EQ(sched_getaffinity(0, {}), -EINVAL);
  unsigned long mask[1024];
  EXPECT_EQ(sched_getaffinity(0x7fffffff, mask), -ESRCH);
}

TEST(Cpu, CountFollowsTheAffinityMask) {
  const int before = getproccount();
  EXPECT_GE(before, 1);
  cpu_set_t saved;
  ASSERT_EQ(::sched_getaffinity(0, sizeof saved, &saved), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (CPU_ISSET(i, &saved)) {
      CPU_SET(i, &one);
      break;
    }
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(getproccount(), 1);
  ASSERT_EQ(::sched_setaffinity(0, sizeof saved, &saved), 0);
  EXPECT_EQ(getproccount(), before);
}

TEST(Cpu, CountsTheMask) {
  EXPECT_EQ(count_cpus({}), 1);
  const unsigned long none[2] = {};
  EXPECT_EQ(count_cpus(none), 1);
  const unsigned long mask[] = {~0UL, 5};
  EXPECT_EQ(count_cpus(mask), static_cast<int>(8 * sizeof mask[0]) + 2);
}

TEST(Cpu, Identities) {
  EXPECT_EQ(getpid(), static_cast<int>(::getpid()));
  EXPECT_EQ(gettid(), static_cast<int>(::syscall(SYS_gettid)));
  osyield();
  osyield_no_g();
}

// Each thread has its own, which stands still while it sleeps, and is not there once it has ended.
TEST(Clock, OfAThreadsProcessorTime) {
  const int64_t own = thread_cpu_ns(0);
  EXPECT_GE(thread_cpu_ns(gettid()), own);
  std::atomic<int> tid{0};
  std::atomic<bool> over{false};
  std::thread other([&] {
    tid = gettid();
    while (!over) std::this_thread::yield();
  });
  while (tid == 0) std::this_thread::yield();
  const int64_t before = thread_cpu_ns(tid);
  EXPECT_GE(before, 0);
  while (thread_cpu_ns(tid) <= before) std::this_thread::yield();
  timespec libcs{};
  ASSERT_EQ(::clock_gettime(thread_cpu_clock(tid), &libcs), 0) << "the number is the kernel's";
  over = true;
  other.join();
  while (thread_state(tid) != 0) std::this_thread::yield();  // join() may be a moment earlier
  EXPECT_EQ(thread_cpu_ns(tid), -EINVAL);
}

TEST(Clock, NeverGoesBack) {
  int64_t last = nanotime();
  for (int i = 0; i < 10'000; i++) {
    const int64_t now = nanotime();
    ASSERT_GE(now, last);
    last = now;
  }
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  EXPECT_NEAR(static_cast<double>(t.tv_sec), static_cast<double>(nanotime()) / 1e9, 2.0);
}

}  // namespace
}  // namespace gort::os
