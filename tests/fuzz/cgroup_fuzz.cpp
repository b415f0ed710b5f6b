// The way from /proc/self/cgroup to the processor quota. The input is a machine: a byte that says how
// long a line to put in front of the first two files, then /proc/self/cgroup, /proc/self/mountinfo,
// what cpu.max says (one line for each depth of directory), cpu.cfs_quota_us and cpu.cfs_period_us,
// each ended by a line "%".
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "os/linux/cgroup.hpp"

namespace gort::fuzz {
namespace {

constexpr std::string_view kProcCgroup = "/proc/self/cgroup";
constexpr std::string_view kProcMountinfo = "/proc/self/mountinfo";

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

struct Machine {
  std::string cgroup, mountinfo, cpu_max, quota_us, period_us;
  std::vector<std::string> opened = {};  // every path below a mount, in order

  // The file at `path`; notes that it was asked for.
  std::string_view file(std::string_view path) {
    if (path == kProcCgroup) return cgroup;
    if (path == kProcMountinfo) return mountinfo;
    if (std::find(opened.begin(), opened.end(), path) == opened.end()) opened.emplace_back(path);
    if (path.ends_with("/cpu.max")) return max_at(path);
    return path.ends_with("/cpu.cfs_quota_us") ? quota_us : period_us;
  }
  // A longer file than any kernel writes is no limit.
  static std::string_view understood(std::string_view text) {
    constexpr size_t kQuotaBytesMax = 63;
    return text.size() <= kQuotaBytesMax ? text : std::string_view();
  }
  std::string_view max_at(std::string_view path) const {
    const std::vector<std::string_view> lines = lines_of(cpu_max);
    return lines[static_cast<size_t>(std::count(path.begin(), path.end(), '/')) % lines.size()];
  }
};

long read_machine(void* context, const char* path, size_t offset, std::span<char> out) noexcept {
  const std::string_view text = static_cast<Machine*>(context)->file(path);
  if (offset >= text.size()) return 0;
  return static_cast<long>(text.substr(offset).copy(out.data(), out.size()));
}

std::string machine_text(Input& input) {
  std::string out;
  while (!input.empty()) {
    const std::string_view line = input.text('\n');
    if (line == "%") break;
    out.append(line).push_back('\n');
  }
  return out;
}

std::string directory_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

// ".." must not lead out of the mount.
bool climbs(std::string_view path) {
  return path.ends_with("/..") || path.find("/../") != std::string_view::npos;
}

// C2: the directories are a group and all groups above it, up to a mount point.
void require_chain(const std::vector<std::string>& directories, const Machine& machine,
                   os::CgroupVersion version) {
  if (directories.empty()) return;
  for (size_t i = 1; i < directories.size(); ++i) {
    const std::string& parent = directories[i];
    require(directories[i - 1].starts_with(parent), "from the group upwards", parent);
  }
  bool at_mount = false;
  for (const std::string_view line : lines_of(machine.mountinfo)) {
    const os::CgroupMount mount = os::parse_mountinfo_line(line);
    char text[1024];
    const size_t n = os::unescape_mount_path(mount.mount_point, text);
    if (mount.version == version && std::string_view(text, n) == directories.back())
      at_mount = true;
  }
  require(at_mount, "up to the mount point", directories.back());
  const std::string_view below = std::string_view(directories[0]).substr(directories.back().size());
  require(!climbs(below), "never out of the mount", directories[0]);
  const auto depth = static_cast<size_t>(std::count(below.begin(), below.end(), '/'));
  require(directories.size() == depth + 1, "every group on the way", directories[0]);
}

uint64_t smaller(uint64_t a, uint64_t b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

uint64_t quota_on(Machine& machine) {
  machine.opened.clear();
  return os::cgroup_cpu_quota({read_machine, &machine});
}

void check_machine(Input input) {
  constexpr size_t kJunkUnit = 61;  // up to 15,000 bytes: several of the reader's buffers
  const std::string junk(input.byte() * kJunkUnit, 'x');
  Machine machine{machine_text(input), machine_text(input), machine_text(input),
                  machine_text(input), machine_text(input)};
  const uint64_t cpus = quota_on(machine);

  std::vector<std::string> v1;
  std::vector<std::string> v2;
  uint64_t expected = 0;
  for (const std::string& path : machine.opened) {
    if (path.ends_with("/cpu.max")) {
      v2.push_back(directory_of(path));
      expected =
          smaller(expected,
                  os::quota_in_cpus(os::parse_cpu_max(Machine::understood(machine.max_at(path)))));
    } else if (path.ends_with("/cpu.cfs_quota_us")) {
      v1.push_back(directory_of(path));
      expected = smaller(expected,
                         os::quota_in_cpus(os::parse_cfs(Machine::understood(machine.quota_us),
                                                         Machine::understood(machine.period_us))));
    } else {
      require(path.ends_with("/cpu.cfs_period_us"), "only files of the cpu controller", path);
    }
  }
  require(cpus == expected, "the smallest quota of those read", std::to_string(cpus));
  require_chain(v1, machine, os::CgroupVersion::v1);
  require_chain(v2, machine, os::CgroupVersion::v2);

  // Another line says nothing about us, however long it is.
  machine.cgroup.insert(0, junk + "\n");
  machine.mountinfo.insert(0, junk + "\n");
  require(quota_on(machine) == cpus, "a line of another kind changes nothing");
}

void check_lines(std::string_view line) {
  const os::CgroupLine group = os::parse_cgroup_line(line);
  require(lies_in(group.path, line), "a view into the line", line);
  require((group.version == os::CgroupVersion::none) == group.path.empty(), "a path or nothing",
          line);
  if (!group.path.empty()) {
    require(group.path.front() == '/' && line.ends_with(group.path), "the path at the end", line);
    const os::CgroupLine again = os::parse_cgroup_line("0::" + std::string(group.path));
    require(again.version == os::CgroupVersion::v2 && again.path.size() == group.path.size(),
            "a path can be written as v2's", line);
  }
  const os::CgroupMount mount = os::parse_mountinfo_line(line);
  require(lies_in(mount.root, line) && lies_in(mount.mount_point, line), "views into the line",
          line);
  require(mount.root.find(' ') == std::string_view::npos &&
              mount.mount_point.find(' ') == std::string_view::npos,
          "fields hold no space", line);
  const bool none = mount.version == os::CgroupVersion::none;
  require(none == mount.mount_point.empty() && none == mount.root.empty(), "both paths or nothing",
          line);
  require(none || (mount.mount_point[0] == '/' && mount.root[0] == '/'), "paths begin so", line);
}

void check_quota(std::string_view text) {
  const os::CpuQuota quota = os::parse_cpu_max(text);
  const uint64_t cpus = os::quota_in_cpus(quota);
  if (quota.quota_us == 0 && quota.period_us == 0) {
    require(cpus == 0, "what is not understood is no limit (C3)", text);
    return;
  }
  const std::string us = std::to_string(quota.quota_us);
  const std::string period = std::to_string(quota.period_us);
  const os::CpuQuota max = os::parse_cpu_max(us + " " + period + "\n");
  const os::CpuQuota cfs = os::parse_cfs(us + "\n", period + "\n");
  require(max.quota_us == quota.quota_us && max.period_us == quota.period_us, "print, parse v2",
          text);
  require(cfs.quota_us == quota.quota_us && cfs.period_us == quota.period_us, "print, parse v1",
          text);
  using Wide = unsigned __int128;
  require(Wide{cpus} * quota.period_us >= (quota.period_us == 0 ? 0 : quota.quota_us) &&
              (cpus == 0 || Wide{cpus - 1} * quota.period_us < quota.quota_us),
          "rounded up, by less than one", text);
}

// As the kernel writes a path into mountinfo.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c != ' ' && c != '\t' && c != '\n' && c != '\\') {
      out += c;
    } else {
      out += {'\\', static_cast<char>('0' + byte / 64), static_cast<char>('0' + byte / 8 % 8),
              static_cast<char>('0' + byte % 8)};
    }
  }
  return out;
}

void check_escapes(std::string_view text) {
  char buffer[512];
  std::span<char> out(buffer);
  const size_t n = os::unescape_mount_path(text, out);
  require(n <= text.size() && n <= out.size(), "never longer", text);
  require(
      n == 0 || text.find('\0') != std::string_view::npos || std::memchr(buffer, 0, n) == nullptr,
      "no zero that was not there: the path would end there", text);
  const std::string written = escaped(text);
  const size_t back = os::unescape_mount_path(written, out);
  if (text.size() <= out.size()) {
    require(std::string_view(buffer, back) == text, "escape and unescape", text);
    if (!text.empty()) {
      require(os::unescape_mount_path(written, out.first(text.size() - 1)) == 0, "or nothing",
              text);
    }
  }
}

void check_directory(Input input) {
  const std::string mount = "/" + std::string(input.text('\n'));
  const std::string root = "/" + std::string(input.text('\n'));
  const std::string path = "/" + std::string(input.text('\n'));
  char buffer[256];
  const size_t n = os::cgroup_directory(mount, root, path, buffer);
  if (n == 0) {
    require(mount.size() + path.size() > sizeof buffer, "only what does not fit is refused", path);
    return;
  }
  const std::string_view directory(buffer, n);
  require(directory.starts_with(mount), "at or below the mount point", directory);
  const std::string_view below = directory.substr(mount.size());
  require(path.ends_with(below), "by the group's own names", directory);
  require(!climbs(below), "never out of the mount", directory);
  if (!climbs(path) && root != "/" && path == root) require(below.empty(), "the root itself", path);
  if (!climbs(path) && root == "/" && path != "/") require(below == path, "all of the path", path);
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  gort::fuzz::check_machine({data, size});
  gort::fuzz::check_lines(text.substr(0, text.find('\n')));
  gort::fuzz::check_quota(text);
  gort::fuzz::check_escapes(text);
  gort::fuzz::check_directory({data, size});
  return 0;
}
