#include "engine/trace_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/try.h"
#include "formats/safetensors.h"

namespace carat {

namespace {

static_assert(std::endian::native == std::endian::little, "the files are little endian");

template <typename T>
std::vector<T> Copy(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

Result<std::vector<TokenId>> NarrowIds(const std::vector<int64_t>& wide, const std::string& where) {
  std::vector<TokenId> ids;
  for (const int64_t id : wide) {
    if (!std::in_range<TokenId>(id)) return Fail(ErrorCode::kBadModel, where + ": " + std::to_string(id) + " is no id");
    ids.push_back(static_cast<TokenId>(id));
  }
  return ids;
}

std::string Join(std::span<const int64_t> numbers) {
  std::string text = "[";
  for (const int64_t number : numbers) text += (text.size() > 1 ? ", " : "") + std::to_string(number);
  return text + "]";
}

// The index of an element, per dimension.
std::string Position(int64_t index, std::span<const int64_t> shape) {
  std::vector<int64_t> position(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    position[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return Join(position);
}

// Token ids are equal or not; how far apart says nothing.
void CompareIds(const TraceTensor& got, const TraceTensor& want, TraceDifference& out) {
  const size_t count = std::min(got.ids.size(), want.ids.size());
  for (size_t i = count; i-- > 0;) {
    if (got.ids[i] == want.ids[i]) continue;
    out.largest += 1;
    out.where =
        "[" + std::to_string(i) + "]: " + std::to_string(got.ids[i]) + " instead of " + std::to_string(want.ids[i]);
  }
  out.within = out.largest == 0 && count > 0;
  if (count == 0) out.where = "nothing to compare";
}

void CompareValues(const TraceTensor& got, const TraceTensor& want, bool last_rows, TraceDifference& out) {
  const bool same_rows = got.shape == want.shape;
  const bool tail = last_rows && !got.shape.empty() && got.shape.size() == want.shape.size() &&
                    got.shape[0] < want.shape[0] &&
                    std::equal(got.shape.begin() + 1, got.shape.end(), want.shape.begin() + 1);
  if ((!same_rows && !tail) || got.values.empty() || want.values.size() < got.values.size()) {
    out.within = false;
    out.largest = std::numeric_limits<double>::quiet_NaN();
    out.where = "the shape is " + Join(got.shape) + " instead of " + Join(want.shape);
    return;
  }
  const size_t skipped = want.values.size() - got.values.size();
  size_t worst = 0;
  for (size_t i = 0; i < got.values.size(); ++i) {
    const double difference = std::abs(double{got.values[i]} - double{want.values[skipped + i]});
    if (difference <= out.largest) continue;  // not so if it is NaN
    worst = i;
    out.largest = difference;
    if (std::isnan(difference)) break;
  }
  out.where = Position(static_cast<int64_t>(worst + skipped), want.shape);
  out.within = out.largest <= out.tolerance;
}

}  // namespace

Result<std::vector<TraceTensor>> ReadTrace(const std::filesystem::path& path) {
  TRY_ASSIGN(const MappedFile file, MappedFile::Open(path));
  TRY_ASSIGN(const std::vector<formats::SafetensorsEntry> entries,
             formats::ParseSafetensors(file.bytes(), path.string()));
  std::vector<TraceTensor> tensors;
  for (const formats::SafetensorsEntry& entry : entries) {
    const std::span<const std::byte> bytes = file.bytes().subspan(entry.offset, entry.size_bytes);
    TraceTensor tensor = {.name = entry.name, .shape = entry.shape, .values = {}, .ids = {}};
    switch (entry.type) {
      case quant::Type::kF32:
        tensor.values = Copy<float>(bytes);
        break;
      case quant::Type::kU8:
        for (const std::byte value : bytes) tensor.values.push_back(static_cast<float>(value));
        break;
      case quant::Type::kI32:
        tensor.ids = Copy<TokenId>(bytes);
        break;
      case quant::Type::kI64: {
        TRY_ASSIGN(tensor.ids, NarrowIds(Copy<int64_t>(bytes), path.string() + ": '" + entry.name + "'"));
        break;
      }
      default:
        continue;
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Status WriteTrace(const std::filesystem::path& path, std::span<const TraceTensor> tensors) {
  std::vector<formats::SafetensorsTensor> views;
  for (const TraceTensor& tensor : tensors) {
    const bool ids = !tensor.ids.empty();
    views.push_back({.name = tensor.name,
                     .type = ids ? quant::Type::kI32 : quant::Type::kF32,
                     .shape = tensor.shape,
                     .data = ids ? std::as_bytes(std::span(tensor.ids)) : std::as_bytes(std::span(tensor.values))});
  }
  return formats::WriteSafetensors(path, views);
}

Result<TraceReference> ReadTraceReference(const std::filesystem::path& path) {
  TraceReference reference;
  TRY_ASSIGN(reference.tensors, ReadTrace(path));
  std::filesystem::path json_path = path;
  json_path.replace_extension(".json");
  if (!std::filesystem::exists(json_path)) return reference;
  reference.has_tolerances = true;
  TRY_ASSIGN(const MappedFile file, MappedFile::Open(json_path));
  TRY_ASSIGN(const Json json, ParseJson(file.text(), json_path.string()));
  const JsonObject root = {&json, json_path.string()};
  TRY_ASSIGN(const JsonObject tolerance, root.Object("tolerance"));
  for (const auto& [name, value] : tolerance.json->items()) {
    TRY_ASSIGN(reference.tolerance[name], tolerance.Float(name));
  }
  return reference;
}

std::vector<TraceDifference> CompareTrace(std::span<const TraceTensor> trace, const TraceReference& reference,
                                          bool last_rows) {
  std::vector<TraceDifference> differences;
  for (const TraceTensor& got : trace) {
    const auto want = std::ranges::find(reference.tensors, got.name, &TraceTensor::name);
    if (want == reference.tensors.end()) continue;
    TraceDifference difference;
    difference.name = got.name;
    if (!got.ids.empty() || !want->ids.empty()) {
      CompareIds(got, *want, difference);
    } else {
      const auto tolerance = reference.tolerance.find(got.name);
      if (tolerance != reference.tolerance.end()) difference.tolerance = tolerance->second;
      CompareValues(got, *want, last_rows, difference);
    }
    differences.push_back(std::move(difference));
  }
  return differences;
}

}  // namespace carat
