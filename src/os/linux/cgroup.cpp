#include "os/linux/cgroup.hpp"

#include <algorithm>

#include "os/linux/internal.hpp"

namespace gort::os {
namespace {

constexpr char kProcCgroup[] = "/proc/self/cgroup";
constexpr char kProcMountinfo[] = "/proc/self/mountinfo";

// Room for a path. PATH_MAX would be 4096; three of these live on the stack at once, and
// the paths that container systems make have some 200 characters. Longer ones are no limit (CG3).
constexpr size_t kPathBytes = 1024;
// Of a file that says a quota: two numbers of 20 digits each would have 42.
constexpr size_t kQuotaBytesMax = 63;
// Of mountinfo; holds two paths and the options of an overlay mount.
constexpr size_t kLineBytes = 4096;

// Cuts the text before `separator` off the front of `text`; all of it if there is none.
std::string_view take_field(std::string_view& text, char separator) noexcept {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return field;
}

bool list_has(std::string_view list, std::string_view word) noexcept {
  while (!list.empty()) {
    if (take_field(list, ',') == word) return true;
  }
  return false;
}

// A zero byte would end the path early, in the middle of another one.
bool is_path(std::string_view text) noexcept {
  return text.starts_with('/') && text.find('\0') == std::string_view::npos;
}

// "/../x" stands in /proc/self/cgroup for a group outside of the namespace; "..x" is a mere name.
bool leads_up(std::string_view path) noexcept {
  while (!path.empty()) {
    if (take_field(path, '/') == "..") return true;
  }
  return false;
}

// A path in a fixed buffer (CG1), always ended by a zero.
struct Path {
  char text[kPathBytes];
  size_t n = 0;

  [[nodiscard]] std::string_view view() const noexcept { return {text, n}; }
  // Sets the path; a path that does not fit becomes the empty one.
  void set(size_t length) noexcept {
    n = length < kPathBytes ? length : 0;
    text[n] = '\0';
  }
};

// Calls f(line) for each line of a file; lines that are longer than the buffer are left out.
template <class F>
void for_each_line(FileReader reader, const char* path, F f) noexcept {
  char buf[kLineBytes];
  size_t offset = 0;
  bool in_long_line = false;
  for (;;) {
    const long got = reader.read(reader.context, path, offset, std::span<char>(buf));
    if (got <= 0) return;
    const bool full = static_cast<size_t>(got) == sizeof buf;
    std::string_view text(buf, static_cast<size_t>(got));
    // The whole lines in the buffer; behind the last one only if the file ends there.
    while (!text.empty()) {
      if (full && text.find('\n') == std::string_view::npos) break;
      const std::string_view line = take_field(text, '\n');
      if (!in_long_line) f(line);
      in_long_line = false;
    }
    if (text.size() == sizeof buf) {  // not one line's end in all of it
      in_long_line = true;
      text = {};
    }
    offset += static_cast<size_t>(got) - text.size();
  }
}

// Reads directory/name as text into buf; empty if it can not be read, or fills the buffer: the front
// half of a number is another number.
std::string_view read_entry(FileReader reader, std::string_view directory, std::string_view name,
                            std::span<char> buf) noexcept {
  char path[kPathBytes + 32];  // 32: room for "/cpu.cfs_period_us"
  size_t n = directory.copy(path, directory.size());
  path[n++] = '/';
  n += name.copy(path + n, name.size());
  path[n] = '\0';
  const long got = reader.read(reader.context, path, 0, buf);
  if (got <= 0 || static_cast<size_t>(got) == buf.size()) return {};
  return {buf.data(), static_cast<size_t>(got)};
}

CpuQuota quota_of_directory(FileReader reader, CgroupVersion version,
                            std::string_view directory) noexcept {
  char first[kQuotaBytesMax + 1];
  char second[kQuotaBytesMax + 1];
  if (version == CgroupVersion::v2) {
    return parse_cpu_max(read_entry(reader, directory, "cpu.max", first));
  }
  return parse_cfs(read_entry(reader, directory, "cpu.cfs_quota_us", first),
                   read_entry(reader, directory, "cpu.cfs_period_us", second));
}

uint64_t smaller_limit(uint64_t a, uint64_t b) noexcept {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

// The smallest quota from `directory` up to and including the mount point (CG2).
uint64_t quota_of_ancestors(FileReader reader, CgroupVersion version, std::string_view directory,
                            size_t mount_point_length) noexcept {
  uint64_t cpus = 0;
  for (;;) {
    cpus = smaller_limit(cpus, quota_in_cpus(quota_of_directory(reader, version, directory)));
    if (directory.size() <= mount_point_length) return cpus;
    const size_t slash = directory.rfind('/');
    if (slash == std::string_view::npos) return cpus;
    directory = directory.substr(0, std::max(slash, mount_point_length));
  }
}

void find_mount(FileReader reader, CgroupVersion version, Path& root, Path& mount_point) noexcept {
  for_each_line(reader, kProcMountinfo, [&](std::string_view line) noexcept {
    const CgroupMount mount = parse_mountinfo_line(line);
    if (mount.version != version || mount_point.n != 0) return;
    root.set(unescape_mount_path(mount.root, root.text));
    mount_point.set(unescape_mount_path(mount.mount_point, mount_point.text));
  });
}

uint64_t quota_of_version(FileReader reader, CgroupVersion version) noexcept {
  Path group;
  for_each_line(reader, kProcCgroup, [&](std::string_view line) noexcept {
    const CgroupLine parsed = parse_cgroup_line(line);
    if (parsed.version != version || parsed.path.size() >= kPathBytes) return;
    group.set(parsed.path.copy(group.text, kPathBytes));
  });
  if (group.n == 0) return 0;
  Path root;
  Path mount_point;
  find_mount(reader, version, root, mount_point);
  if (mount_point.n == 0) return 0;
  char directory[kPathBytes];
  const size_t n = cgroup_directory(mount_point.view(), root.view(), group.view(), directory);
  if (n == 0) return 0;
  return quota_of_ancestors(reader, version, {directory, n}, mount_point.n);
}

long read_real_file(void*, const char* path, size_t offset, std::span<char> out) noexcept {
  return read_file(path, offset, out);
}

}  // namespace

uint64_t cgroup_cpu_quota() noexcept {
  return cgroup_cpu_quota({read_real_file, nullptr});
}

uint64_t cgroup_cpu_quota(FileReader reader) noexcept {
  return smaller_limit(quota_of_version(reader, CgroupVersion::v2),
                       quota_of_version(reader, CgroupVersion::v1));
}

uint64_t quota_in_cpus(CpuQuota quota) noexcept {
  if (quota.quota_us == 0 || quota.period_us == 0) return 0;
  return quota.quota_us / quota.period_us + (quota.quota_us % quota.period_us != 0 ? 1 : 0);
}

CpuQuota parse_cpu_max(std::string_view text) noexcept {
  CpuQuota out;
  const std::string_view quota = take_field(text, ' ');
  if (!parse_decimal(quota, out.quota_us) || !parse_decimal(text, out.period_us)) return {};
  return out;
}

CpuQuota parse_cfs(std::string_view quota_us, std::string_view period_us) noexcept {
  CpuQuota out;
  if (!parse_decimal(quota_us, out.quota_us)) return {};  // also "-1"
  if (!parse_decimal(period_us, out.period_us)) return {};
  return out;
}

CgroupLine parse_cgroup_line(std::string_view line) noexcept {
  const std::string_view id = take_field(line, ':');
  const std::string_view controllers = take_field(line, ':');
  if (!is_path(line)) return {};
  if (id == "0" && controllers.empty()) return {CgroupVersion::v2, line};
  if (list_has(controllers, "cpu")) return {CgroupVersion::v1, line};
  return {};
}

// 36 35 98:0 /root /mount/point rw,noatime shared:1 - cgroup2 cgroup2 rw,nsdelegate   (proc(5))
CgroupMount parse_mountinfo_line(std::string_view line) noexcept {
  constexpr std::string_view kEndOfOptionalFields = " - ";
  const size_t dash = line.find(kEndOfOptionalFields);
  if (dash == std::string_view::npos) return {};
  std::string_view tail = line.substr(dash + kEndOfOptionalFields.size());
  const std::string_view type = take_field(tail, ' ');
  take_field(tail, ' ');  // the source
  CgroupMount out;
  if (type == "cgroup2") out.version = CgroupVersion::v2;
  if (type == "cgroup" && list_has(tail, "cpu")) out.version = CgroupVersion::v1;
  if (out.version == CgroupVersion::none) return {};
  for (int i = 0; i < 3; i++) take_field(line, ' ');  // mount id, parent, device
  out.root = take_field(line, ' ');
  out.mount_point = take_field(line, ' ');
  if (!is_path(out.root) || !is_path(out.mount_point)) return {};
  return out;
}

size_t unescape_mount_path(std::string_view in, std::span<char> out) noexcept {
  // The byte behind the backslash at i, 0 if no byte can be meant.
  const auto escaped = [&](size_t i) noexcept {
    unsigned byte = 0;
    for (size_t digit = i + 1; digit <= i + 3; digit++) {
      if (digit >= in.size() || in[digit] < '0' || in[digit] > '7') return 0U;
      byte = byte * 8 + static_cast<unsigned>(in[digit] - '0');
    }
    return byte <= 0xff ? byte : 0U;
  };
  size_t n = 0;
  for (size_t i = 0; i < in.size(); n++) {
    if (n >= out.size()) return 0;
    const unsigned byte = in[i] == '\\' ? escaped(i) : 0;
    if (byte != 0) {
      out[n] = static_cast<char>(byte);
      i += 4;
    } else {
      out[n] = in[i++];
    }
  }
  return n;
}

size_t cgroup_directory(std::string_view mount_point, std::string_view root, std::string_view path,
                        std::span<char> out) noexcept {
  if (root == "/") root = "";
  if (path == "/") path = "";
  const bool below = path.starts_with(root) &&
                     (path.size() == root.size() || path[root.size()] == '/') && !leads_up(path);
  path = below ? path.substr(root.size()) : std::string_view();
  if (mount_point.size() + path.size() > out.size()) return 0;
  mount_point.copy(out.data(), mount_point.size());
  path.copy(out.data() + mount_point.size(), path.size());
  return mount_point.size() + path.size();
}

}  // namespace gort::os
