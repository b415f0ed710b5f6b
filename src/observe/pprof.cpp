#include "observe/pprof.hpp"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <new>
#include <unordered_map>
#include <utility>

#include "observe/objects.hpp"

namespace gort {
namespace {

// ---- Protocol buffers: a message is a row of fields, each with its number and a number or bytes ---------

class Message {
 public:
  Message& number(unsigned field, uint64_t value) {
    varint(field << 3 | kVarint);
    varint(value);
    return *this;
  }
  Message& bytes(unsigned field, std::string_view value) {
    varint(field << 3 | kBytes);
    varint(value.size());
    text_ += value;
    return *this;
  }
  Message& message(unsigned field, const Message& value) { return bytes(field, value.text_); }
  template <class Numbers>
  Message& numbers(unsigned field, const Numbers& values) {
    Message packed;
    for (const uint64_t v : values) packed.varint(v);
    return message(field, packed);
  }
  std::string take() { return std::move(text_); }

 private:
  static constexpr unsigned kVarint = 0;
  static constexpr unsigned kBytes = 2;
  void varint(uint64_t v) {
    constexpr uint64_t kMore = 0x80;
    for (; v >= kMore; v >>= 7) text_ += static_cast<char>(v | kMore);
    text_ += static_cast<char>(v);
  }
  std::string text_;
};

// The numbers of the fields, as in profile.proto.
namespace profile_field {
enum : unsigned {
  sample_type = 1,
  sample = 2,
  mapping = 3,
  location = 4,
  function = 5,
  string_table = 6,
  time_nanos = 9,
  duration_nanos = 10,
  period_type = 11,
  period = 12,
};
}
namespace value_type_field {
enum : unsigned { type = 1, unit = 2 };
}
namespace sample_field {
enum : unsigned { location_id = 1, value = 2, label = 3 };
}
namespace label_field {
enum : unsigned { key = 1, str = 2 };
}
namespace mapping_field {
enum : unsigned { id = 1, start = 2, limit = 3, offset = 4, filename = 5, build_id = 6 };
}
namespace location_field {
enum : unsigned { id = 1, mapping_id = 2, address = 3, line = 4 };
}
namespace line_field {
enum : unsigned { function_id = 1 };
}
namespace function_field {
enum : unsigned { id = 1, name = 2, system_name = 3 };
}

class Encoder {
 public:
  Encoder() : mappings_(code_mappings()) { (void)string(""); }  // the first one is the empty one

  std::string encode(const CpuSamples& samples) {
    out_.message(profile_field::sample_type, value_type("samples", "count"));
    out_.message(profile_field::sample_type, value_type("cpu", "nanoseconds"));
    for (const StackCount& s : samples.stacks) {
      std::vector<uint64_t> locations;
      for (const uintptr_t pc : s.pcs) locations.push_back(location(pc));
      sample(locations, s.count, samples.period_ns, s.fiber);
    }
    if (samples.lost != 0) sample({lost_location()}, samples.lost, samples.period_ns, {});
    for (size_t i = 0; i < mappings_.size(); ++i) add_mapping(i + 1, mappings_[i]);
    out_.number(profile_field::time_nanos, static_cast<uint64_t>(samples.began_unix_ns));
    out_.number(profile_field::duration_nanos, static_cast<uint64_t>(samples.duration_ns));
    out_.message(profile_field::period_type, value_type("cpu", "nanoseconds"));
    out_.number(profile_field::period, static_cast<uint64_t>(samples.period_ns));
    return out_.take();
  }

 private:
  uint64_t string(const std::string& text) {
    const auto [it, is_new] = strings_.try_emplace(text, strings_.size());
    if (is_new) out_.bytes(profile_field::string_table, text);
    return it->second;
  }

  Message value_type(const char* type, const char* unit) {
    return std::move(Message()
                         .number(value_type_field::type, string(type))
                         .number(value_type_field::unit, string(unit)));
  }

  void sample(const std::vector<uint64_t>& locations, uint64_t count, int64_t period_ns,
              const std::string& fiber) {
    Message m;
    m.numbers(sample_field::location_id, locations);
    m.numbers(sample_field::value,
              std::initializer_list<uint64_t>{count, count * static_cast<uint64_t>(period_ns)});
    if (!fiber.empty()) {
      Message label;
      label.number(label_field::key, string("fiber")).number(label_field::str, string(fiber));
      m.message(sample_field::label, label);
    }
    out_.message(profile_field::sample, m);
  }

  // pprof finds functions and lines by itself where it has the file; what the dynamic linker knows is for the other cases,
  // so that mappings do not say that they have functions.
  uint64_t location(uintptr_t pc) {
    const auto [it, is_new] = locations_.try_emplace(pc, next_location_);
    if (!is_new) return it->second;
    Message m;
    m.number(location_field::id, next_location_).number(location_field::address, pc);
    if (const uint64_t id = mapping_of(pc); id != 0) m.number(location_field::mapping_id, id);
    if (const CodeFunction f = function_at(pc); !f.name.empty()) {
      m.message(location_field::line, line(function(f)));
    }
    out_.message(profile_field::location, m);
    return next_location_++;
  }

  uint64_t lost_location() {
    const CodeFunction f{0, "gort: lost samples", "gort: lost samples"};
    Message m;
    m.number(location_field::id, next_location_).message(location_field::line, line(function(f)));
    out_.message(profile_field::location, m);
    return next_location_++;
  }

  static Message line(uint64_t function_id) {
    return std::move(Message().number(line_field::function_id, function_id));
  }

  uint64_t function(const CodeFunction& f) {
    const auto [it, is_new] = functions_.try_emplace(f.start, functions_.size() + 1);
    if (is_new) {
      const uint64_t name = string(f.name);
      const uint64_t system_name = string(f.linker_name);
      Message m;
      m.number(function_field::id, it->second)
          .number(function_field::name, name)
          .number(function_field::system_name, system_name);
      out_.message(profile_field::function, m);
    }
    return it->second;
  }

  [[nodiscard]] uint64_t mapping_of(uintptr_t pc) const {
    const auto it = std::upper_bound(mappings_.begin(), mappings_.end(), pc,
                                     [](uintptr_t at, const CodeMapping& m) { return at < m.end; });
    if (it == mappings_.end() || pc < it->start) return 0;
    return static_cast<uint64_t>(it - mappings_.begin()) + 1;
  }

  void add_mapping(uint64_t id, const CodeMapping& mapping) {
    Message m;
    m.number(mapping_field::id, id)
        .number(mapping_field::start, mapping.start)
        .number(mapping_field::limit, mapping.end)
        .number(mapping_field::offset, mapping.file_offset)
        .number(mapping_field::filename, string(mapping.file));
    if (!mapping.build_id.empty()) m.number(mapping_field::build_id, string(mapping.build_id));
    out_.message(profile_field::mapping, m);
  }

  Message out_;
  std::vector<CodeMapping> mappings_;
  std::unordered_map<std::string, uint64_t> strings_;
  std::unordered_map<uintptr_t, uint64_t> locations_;
  uint64_t next_location_ = 1;
  std::unordered_map<uintptr_t, uint64_t> functions_;  // by where they start
};

}  // namespace

std::string encode_cpu_profile(const CpuSamples& samples) {
  return Encoder().encode(samples);
}

std::string gzip(std::string_view text) {
  constexpr int kGzip = 16 + MAX_WBITS;
  constexpr int kMemLevel = 8;  // zlib's default
  z_stream z{};
  if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, kMemLevel, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    throw std::bad_alloc();
  }
  const std::unique_ptr<z_stream, decltype(&deflateEnd)> owner(&z, deflateEnd);
  std::string out;
  std::string piece(size_t{64} << 10, '\0');
  // zlib counts in 32 bits, and takes what it only reads as writable.
  constexpr size_t kInputMax = size_t{1} << 30;
  int status = Z_OK;
  while (status == Z_OK) {
    const size_t n = std::min(text.size(), kInputMax);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    z.avail_in = static_cast<uInt>(n);
    z.next_out = reinterpret_cast<Bytef*>(piece.data());
    z.avail_out = static_cast<uInt>(piece.size());
    status = deflate(&z, n == text.size() ? Z_FINISH : Z_NO_FLUSH);
    text.remove_prefix(n - z.avail_in);
    out.append(piece, 0, piece.size() - z.avail_out);
  }
  return out;
}

}  // namespace gort
