// cgroup: how many processors' worth of time the container may use.
//
// Called by cpu.cpp. Everything but cgroup_cpu_quota() is a pure function over text, so that the
// tests can bring their own machines.
//
//   CG1  No allocation and no stdio: sysmon asks again while the program runs.
//   CG2  The answer is the smallest quota of the process's own group and all groups above it,
//        because a group never gets more than its parent.
//   CG3  Whatever can not be read or understood is no limit.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace gort::os {

enum class CgroupVersion : uint8_t { none, v1, v2 };

// Processor time per period, both in microseconds. quota_us 0: no limit.
struct CpuQuota {
  uint64_t quota_us = 0;
  uint64_t period_us = 0;
};

// The quota in processors, rounded up, at least 1; 0: no limit.
uint64_t quota_in_cpus(CpuQuota quota) noexcept;

// "max 100000" or "150000 100000" (v2's cpu.max).
CpuQuota parse_cpu_max(std::string_view text) noexcept;
// "-1" or "150000", and "100000" (v1's cpu.cfs_quota_us and cpu.cfs_period_us).
CpuQuota parse_cfs(std::string_view quota_us, std::string_view period_us) noexcept;

// The group in one line of /proc/self/cgroup: "0::/a/b" is v2's, "4:cpu,cpuacct:/a/b" v1's with the
// cpu controller. Another line: version none.
struct CgroupLine {
  CgroupVersion version = CgroupVersion::none;
  std::string_view path;
};
CgroupLine parse_cgroup_line(std::string_view line) noexcept;

// One line of /proc/self/mountinfo, if it mounts cgroup2, or cgroup with the cpu controller.
struct CgroupMount {
  CgroupVersion version = CgroupVersion::none;
  std::string_view root;  // the group that stands at the mount point; octal escapes as they are
  std::string_view mount_point;  // likewise
};
CgroupMount parse_mountinfo_line(std::string_view line) noexcept;

// Turns mountinfo's "\040" into a space and so on, except for what is no byte of a path ("\000",
// "\777"). The length, or 0 if it does not fit.
size_t unescape_mount_path(std::string_view in, std::span<char> out) noexcept;

// The directory of group `path` under a mount of group `root` at `mount_point`, into out. A group
// that is not below the root (it lies outside the container), or whose path has a "..", is taken to
// be the mount point. 0: does not fit.
size_t cgroup_directory(std::string_view mount_point, std::string_view root, std::string_view path,
                        std::span<char> out) noexcept;

// Reads a file as read_file() does; tests give their own.
struct FileReader {
  long (*read)(void* context, const char* path, size_t offset, std::span<char> out) noexcept;
  void* context;
};

// The whole way from /proc/self/cgroup to the smallest quota, in processors; 0: no limit. v2 and v1
// are both looked at: on a hybrid system the cpu controller is at either.
uint64_t cgroup_cpu_quota(FileReader reader) noexcept;
uint64_t cgroup_cpu_quota() noexcept;

}  // namespace gort::os
