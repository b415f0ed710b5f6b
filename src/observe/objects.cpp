#include "observe/objects.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

namespace gort {
namespace {

std::string hex(const unsigned char* bytes, size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

// A segment of notes: each has the lengths of its name and its content, and a type; then both, padded to 4 bytes.
std::string build_id_in(const unsigned char* at, size_t bytes) {
  constexpr size_t kPadding = 4;
  const auto padded = [](size_t n) { return (n + kPadding - 1) / kPadding * kPadding; };
  while (bytes >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, at, sizeof note);
    const size_t content = sizeof note + padded(note.n_namesz);
    const size_t end = content + padded(note.n_descsz);
    if (content > bytes || end > bytes) break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof ELF_NOTE_GNU &&
        std::memcmp(at + sizeof note, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0) {
      return hex(at + content, note.n_descsz);
    }
    at += end;
    bytes -= end;
  }
  return {};
}

// For each object that is loaded: the mappings in which its code lies get its build id.
int add_build_id(dl_phdr_info* object, size_t, void* arg) noexcept try {
  std::string id;
  for (int i = 0; i < object->dlpi_phnum && id.empty(); ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    id = build_id_in(reinterpret_cast<const unsigned char*>(object->dlpi_addr + segment.p_vaddr),
                     segment.p_memsz);
  }
  for (CodeMapping& mapping : *static_cast<std::vector<CodeMapping>*>(arg)) {
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      const uintptr_t start = object->dlpi_addr + segment.p_vaddr;
      if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0 && start < mapping.end &&
          mapping.start < start + segment.p_memsz) {
        mapping.build_id = id;
      }
    }
  }
  return 0;
} catch (...) {
  return 1;  // no memory: build ids are good to have, no more
}

}  // namespace

std::vector<CodeMapping> parse_maps(const std::string& text) {
  std::vector<CodeMapping> found;
  std::istringstream lines(text);
  // 7f0000000000-7f0000001000 r-xp 00001000 08:01 1234    /path that may have spaces
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    CodeMapping m;
    std::string rights;
    std::string device;
    uint64_t inode = 0;
    char dash = 0;
    fields >> std::hex >> m.start >> dash >> m.end >> rights >> m.file_offset >> device >>
        std::dec >> inode >> std::ws;
    if (!fields.eof() && !fields.good()) continue;
    std::getline(fields, m.file);
    if (dash != '-' || rights.size() != 4 || rights[2] != 'x' || m.file.empty()) continue;
    if (m.file[0] == '[' && m.file != "[vdso]") continue;  // the processor's page of old, say
    found.push_back(std::move(m));
  }
  return found;
}

std::vector<CodeMapping> code_mappings() {
  std::ifstream maps("/proc/self/maps");
  const std::string text((std::istreambuf_iterator<char>(maps)), std::istreambuf_iterator<char>());
  std::vector<CodeMapping> found = parse_maps(text);
  (void)dl_iterate_phdr(add_build_id, &found);
  return found;
}

CodeFunction function_at(uintptr_t address) {
  CodeFunction f;
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(address), &info) == 0 || info.dli_sname == nullptr) {
    return f;
  }
  f.start = reinterpret_cast<uintptr_t>(info.dli_saddr);
  f.linker_name = info.dli_sname;
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), std::free);
  f.name = plain != nullptr ? plain.get() : info.dli_sname;
  return f;
}

}  // namespace gort
