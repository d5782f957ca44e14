#include "quant/type.h"

#include <array>

#include "base/check.h"

namespace carat::quant {

const TypeInfo& Info(Type type) {
  // In the order of the enumeration.
  static constexpr std::array<TypeInfo, kTypeCount> kInfo = {{
      {"F32", 1, 4},      {"F16", 1, 2},        {"BF16", 1, 2},     {"F64", 1, 8},      {"I8", 1, 1},
      {"I16", 1, 2},      {"I32", 1, 4},        {"I64", 1, 8},      {"U8", 1, 1},       {"BOOL", 1, 1},
      {"Q4_0", 32, 18},   {"Q4_1", 32, 20},     {"Q5_0", 32, 22},   {"Q5_1", 32, 24},   {"Q8_0", 32, 34},
      {"IQ4_NL", 32, 18}, {"Q2_K", 256, 84},    {"Q3_K", 256, 110}, {"Q4_K", 256, 144}, {"Q5_K", 256, 176},
      {"Q6_K", 256, 210}, {"IQ4_XS", 256, 136}, {"C8", 1, 1},       {"C4", 2, 1},       {"C2", 4, 1},
      {"G4", 32, 16},
  }};
  const auto index = static_cast<size_t>(type);
  CHECK(index < kInfo.size());
  return kInfo[index];
}

std::optional<uint64_t> RowBytes(Type type, uint64_t elements) {
  const TypeInfo& info = Info(type);
  const auto block = static_cast<uint64_t>(info.block_elements);
  const bool whole = elements % block == 0;
  if (!whole && type != Type::kC4 && type != Type::kC2) return std::nullopt;
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements / block + (whole ? 0 : 1), static_cast<uint64_t>(info.block_bytes), &bytes))
    return std::nullopt;
  return bytes;
}

}  // namespace carat::quant
