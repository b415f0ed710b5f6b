// objects: what code is where in this process, for those who read addresses later. Allocates and reads /proc; not for
// handlers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gort {

// A part of the address space with code, from a file or the vdso.
struct CodeMapping {
  uintptr_t start = 0, end = 0;
  uint64_t file_offset = 0;
  std::string file;
  std::string build_id;  // in hexadecimal; empty if there is none
};

// By addresses. Empty if /proc is not to be had.
std::vector<CodeMapping> code_mappings();

// The lines of /proc/PID/maps that have code, without build ids. Lines that are none are left out.
std::vector<CodeMapping> parse_maps(const std::string& text);

// The function that an address belongs to, as far as the dynamic linker knows it. An empty name: it does not.
struct CodeFunction {
  uintptr_t start = 0;
  std::string linker_name;
  std::string name;  // as in the source, if that can be told
};
CodeFunction function_at(uintptr_t address);

}  // namespace gort
