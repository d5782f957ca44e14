#include "formats/safetensors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/json.h"
#include "base/try.h"

namespace carat::formats {

namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxRank = 8;

// A spelling of the format, and ours. Types that no Gemma checkpoint needs are refused by name.
struct DType {
  const char* name;
  quant::Type type;
};
constexpr DType kDTypes[] = {{"F32", quant::Type::kF32},  {"F16", quant::Type::kF16}, {"BF16", quant::Type::kBF16},
                             {"F64", quant::Type::kF64},  {"I8", quant::Type::kI8},   {"I16", quant::Type::kI16},
                             {"I32", quant::Type::kI32},  {"I64", quant::Type::kI64}, {"U8", quant::Type::kU8},
                             {"BOOL", quant::Type::kBool}};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string_view file) : bytes_(bytes), file_(file) {}

  Result<std::vector<SafetensorsEntry>> Parse() {
    TRY_ASSIGN(const Json header, ParseHeader());
    std::vector<SafetensorsEntry> entries;
    entries.reserve(header.size());
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        TRY(CheckMetadata(value));
        continue;
      }
      TRY_ASSIGN(SafetensorsEntry entry, ParseEntry(name, value));
      entries.push_back(std::move(entry));
    }
    std::ranges::sort(entries, [](const auto& a, const auto& b) {
      return a.offset < b.offset || (a.offset == b.offset && a.size_bytes < b.size_bytes);
    });
    TRY(CheckTiling(entries));
    return entries;
  }

 private:
  std::unexpected<Error> FailHere(const std::string& what) const {
    return Fail(ErrorCode::kBadModel, file_ + ": " + what);
  }

  Result<Json> ParseHeader() {
    if (bytes_.size() < 8)
      return FailHere("too short to be a safetensors file (" + std::to_string(bytes_.size()) + " bytes)");
    uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), 8);
    if (length > kMaxHeaderBytes)
      return FailHere("not a safetensors file (its header would have " + std::to_string(length) + " bytes)");
    if (length > bytes_.size() - 8)
      return FailHere("the file ends inside of its header; it was probably not downloaded completely");
    data_begin_ = 8 + length;
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + 8), length);
    if (!text.starts_with('{')) return FailHere("not a safetensors file (its header is no JSON object)");
    return ParseJson(text, file_);
  }

  Status CheckMetadata(const Json& metadata) const {
    if (!metadata.is_object()) return FailHere("'__metadata__' is no object");
    for (const auto& [key, value] : metadata.items())
      if (!value.is_string()) return FailHere("'__metadata__' has a value that is no string");
    return {};
  }

  Result<SafetensorsEntry> ParseEntry(const std::string& name, const Json& value) const {
    if (!value.is_object()) return FailHere("tensor '" + name + "' is not described by an object");
    const JsonObject object = {&value, file_ + ": tensor '" + name + "'"};
    const auto fail = [&](const std::string& what) { return Fail(ErrorCode::kBadModel, object.where + " " + what); };
    SafetensorsEntry entry{.name = name, .shape = {}};
    TRY_ASSIGN(const std::string dtype, object.String("dtype"));
    const auto* known = std::ranges::find_if(kDTypes, [&](const DType& it) { return dtype == it.name; });
    if (known == std::end(kDTypes)) return fail("has the dtype '" + dtype + "', which is not supported");
    entry.type = known->type;
    if (!value.contains("shape") || !value["shape"].is_array()) return fail("has no shape");
    TRY_ASSIGN(entry.shape, object.Integers("shape", 0, int64_t{1} << 40));
    if (entry.shape.size() > kMaxRank) return fail("has " + std::to_string(entry.shape.size()) + " dimensions");
    entry.size_bytes = static_cast<uint64_t>(quant::Info(entry.type).block_bytes);
    for (const int64_t size : entry.shape)
      if (__builtin_mul_overflow(entry.size_bytes, static_cast<uint64_t>(size), &entry.size_bytes))
        return fail("has a size that overflows");
    TRY_ASSIGN(const std::vector<int64_t> range, object.Integers("data_offsets", 0, INT64_MAX));
    if (range.size() != 2 || range[0] > range[1]) return fail("has data_offsets that are no range");
    if (static_cast<uint64_t>(range[1] - range[0]) != entry.size_bytes)
      return fail("spans " + std::to_string(range[1] - range[0]) + " bytes, but its shape and dtype give " +
                  std::to_string(entry.size_bytes));
    if (static_cast<uint64_t>(range[1]) > bytes_.size() - data_begin_)
      return fail("reaches beyond the end of the file (" + std::to_string(bytes_.size()) +
                  " bytes); it was probably not downloaded completely");
    entry.offset = data_begin_ + static_cast<uint64_t>(range[0]);
    return entry;
  }

  // Sorted by offset, the tensors must cover the data without hole or overlap.
  Status CheckTiling(std::span<const SafetensorsEntry> entries) const {
    uint64_t end = data_begin_;
    for (const SafetensorsEntry& entry : entries) {
      if (entry.offset != end)
        return FailHere("tensor '" + entry.name + "' " + (entry.offset < end ? "overlaps" : "leaves a hole behind") +
                        " the tensor before it");
      end += entry.size_bytes;
    }
    if (end != bytes_.size())
      return FailHere("there are " + std::to_string(bytes_.size() - end) + " bytes behind the last tensor");
    return {};
  }

  std::span<const std::byte> bytes_;
  std::string file_;
  uint64_t data_begin_ = 0;
};

}  // namespace

Result<std::vector<SafetensorsEntry>> ParseSafetensors(std::span<const std::byte> bytes, std::string_view file_name) {
  return Parser(bytes, file_name).Parse();
}

Status WriteSafetensors(const std::filesystem::path& path, std::span<const SafetensorsTensor> tensors) {
  Json header = Json::object();
  uint64_t offset = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", quant::Info(tensor.type).name},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();

  // The file appears whole or not at all, by a rename; which must not take the place of a device or a link.
  std::error_code error;
  const std::filesystem::file_type kind = std::filesystem::symlink_status(path, error).type();
  if (kind != std::filesystem::file_type::not_found && kind != std::filesystem::file_type::regular)
    return Fail(ErrorCode::kUsage, path.string() + ": is there and not a regular file; name another");
  const std::filesystem::path temporary = path.string() + ".part";
  const auto fail = [&](int reason) {
    return Fail(ErrorCode::kFailure, path.string() + ": cannot be written: " + std::strerror(reason));
  };
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  if (!file) return fail(errno);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const SafetensorsTensor& tensor : tensors)
    file.write(reinterpret_cast<const char*>(tensor.data.data()), static_cast<std::streamsize>(tensor.data.size()));
  file.close();
  const int write_error = errno;
  if (file) std::filesystem::rename(temporary, path, error);
  if (!file || error) {
    const int reason = file ? error.value() : write_error;
    std::filesystem::remove(temporary, error);
    return fail(reason);
  }
  return {};
}

}  // namespace carat::formats
