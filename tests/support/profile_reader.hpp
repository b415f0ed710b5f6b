// profile_reader: reads back what a profile's file says, with a reader of its own for gzip's content and the format.
#pragma once

#include <gtest/gtest.h>
#include <unwind.h>
#include <zlib.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gort::test {

struct ProfileFile {
  struct Sample {
    std::vector<uint64_t> pcs;  // the innermost first
    std::vector<std::string> functions;
    uint64_t count = 0;
    uint64_t ns = 0;
    std::string fiber;
  };
  struct Mapping {
    uint64_t start = 0, end = 0, offset = 0;
    std::string file, build_id;
  };
  std::vector<std::string> sample_types;  // "samples/count"
  std::vector<Sample> samples;
  std::vector<Mapping> mappings;
  std::map<uint64_t, uint64_t> mapping_of;  // address -> id
  uint64_t period_ns = 0, time_ns = 0, duration_ns = 0;

  [[nodiscard]] uint64_t total() const {
    uint64_t sum = 0;
    for (const Sample& s : samples) sum += s.count;
    return sum;
  }
  [[nodiscard]] uint64_t of_fiber(std::string_view name) const {
    uint64_t sum = 0;
    for (const Sample& s : samples) sum += s.fiber == name ? s.count : 0;
    return sum;
  }
  // Of samples with an address inside of a function, at any depth.
  [[nodiscard]] uint64_t with(const void* function) const {
    uint64_t sum = 0;
    for (const Sample& s : samples) sum += calls(s, function) ? s.count : 0;
    return sum;
  }
  static bool calls(const Sample& s, const void* function) {
    for (const uint64_t pc : s.pcs) {
      if (function_of(pc) == function) return true;
    }
    return false;
  }
  // Where the function begins that a sample's address lies in. (It looks at the byte before a return address.)
  static const void* function_of(uint64_t pc) {
    return _Unwind_FindEnclosingFunction(reinterpret_cast<void*>(pc + 1));
  }
};

// One field of a message: a number, or bytes.
struct ProtoField {
  unsigned number = 0;
  uint64_t value = 0;
  std::string_view bytes;
};

class ProtoReader {
 public:
  explicit ProtoReader(std::string_view text) : left_(text) {}
  bool next(ProtoField& f) {
    if (left_.empty()) return false;
    const uint64_t key = varint();
    f = {static_cast<unsigned>(key >> 3), 0, {}};
    if ((key & 7) == 0) {
      f.value = varint();
    } else if ((key & 7) == 2) {
      const uint64_t n = varint();
      EXPECT_LE(n, left_.size());
      f.bytes = left_.substr(0, n);
      left_.remove_prefix(f.bytes.size());
    } else {
      ADD_FAILURE() << "a field of a kind that profiles do not have";
      left_ = {};
    }
    return true;
  }
  uint64_t varint() {
    uint64_t v = 0;
    for (unsigned shift = 0; !left_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(left_[0]);
      left_.remove_prefix(1);
      v |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return v;
    }
    ADD_FAILURE() << "a number without an end";
    return v;
  }
  [[nodiscard]] bool empty() const { return left_.empty(); }

 private:
  std::string_view left_;
};

inline std::vector<uint64_t> packed(std::string_view bytes) {
  std::vector<uint64_t> numbers;
  for (ProtoReader r(bytes); !r.empty();) numbers.push_back(r.varint());
  return numbers;
}

inline std::map<unsigned, ProtoField> fields_of(std::string_view message) {
  std::map<unsigned, ProtoField> fields;
  ProtoField f;
  for (ProtoReader r(message); r.next(f);) fields[f.number] = f;
  return fields;
}

inline std::string gunzip_file(const std::string& path) {
  gzFile in = gzopen(path.c_str(), "rb");
  EXPECT_NE(in, nullptr) << path;
  std::string text;
  if (in == nullptr) return text;
  EXPECT_EQ(gzdirect(in), 0) << "it is gzipped";
  char piece[4096];
  int n;
  while ((n = gzread(in, piece, sizeof piece)) > 0) text.append(piece, static_cast<size_t>(n));
  EXPECT_EQ(n, 0) << "it is whole";
  gzclose(in);
  return text;
}

inline ProfileFile parse_profile(const std::string& text) {
  ProfileFile p;
  std::vector<std::string> strings;
  std::map<uint64_t, std::string> functions;
  std::map<uint64_t, std::pair<uint64_t, std::string>> locations;  // id -> address, function
  ProtoField f;
  for (ProtoReader r(text); r.next(f);) {
    if (f.number == 6) strings.emplace_back(f.bytes);
  }
  EXPECT_FALSE(strings.empty());
  EXPECT_EQ(strings.at(0), "");
  for (ProtoReader r(text); r.next(f);) {
    if (f.number != 5) continue;
    auto of = fields_of(f.bytes);
    functions[of[1].value] = strings.at(of[2].value);
  }
  for (ProtoReader r(text); r.next(f);) {
    if (f.number != 4) continue;
    auto of = fields_of(f.bytes);
    std::string name;
    if (of.count(4) != 0) name = functions.at(fields_of(of[4].bytes)[1].value);
    EXPECT_TRUE(locations.emplace(of[1].value, std::pair(of[3].value, name)).second);
    p.mapping_of[of[3].value] = of[2].value;
  }
  for (ProtoReader r(text); r.next(f);) {
    auto of =
        f.bytes.empty() || f.number == 6 ? std::map<unsigned, ProtoField>() : fields_of(f.bytes);
    if (f.number == 1) {
      p.sample_types.push_back(strings.at(of[1].value) + "/" + strings.at(of[2].value));
    } else if (f.number == 2) {
      ProfileFile::Sample s;
      for (const uint64_t id : packed(of[1].bytes)) {
        s.pcs.push_back(locations.at(id).first);
        s.functions.push_back(locations.at(id).second);
      }
      const auto values = packed(of[2].bytes);
      EXPECT_EQ(values.size(), 2U);
      s.count = values.at(0);
      s.ns = values.at(1);
      if (of.count(3) != 0) {
        auto label = fields_of(of[3].bytes);
        EXPECT_EQ(strings.at(label[1].value), "fiber");
        s.fiber = strings.at(label[2].value);
      }
      p.samples.push_back(std::move(s));
    } else if (f.number == 3) {
      EXPECT_EQ(of[1].value, p.mappings.size() + 1);
      p.mappings.push_back({of[2].value, of[3].value, of[4].value, strings.at(of[5].value),
                            strings.at(of[6].value)});
    } else if (f.number == 9) {
      p.time_ns = f.value;
    } else if (f.number == 10) {
      p.duration_ns = f.value;
    } else if (f.number == 12) {
      p.period_ns = f.value;
    }
  }
  return p;
}

inline ProfileFile read_profile(const std::string& path) {
  return parse_profile(gunzip_file(path));
}

}  // namespace gort::test
