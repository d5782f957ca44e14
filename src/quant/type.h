// The element and block types that a tensor can have on disk, and the sizes of their blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace carat::quant {

enum class Type : uint8_t {
  // Plain numbers.
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kBool,
  // Blocks of 32 weights along a row (GGUF).
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kIQ4_NL,
  // Super-blocks of 256 weights along a row (GGUF).
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_XS,
  // Codes whose scales are a tensor of their own (quant/codes.h).
  kC8,
  kC4,
  kC2,
  kG4,
};
inline constexpr int kTypeCount = static_cast<int>(Type::kG4) + 1;

struct TypeInfo {
  std::string_view name;  // as GGUF tools print it: "Q4_K"
  int block_elements;     // weights in one block, 1 for plain numbers
  int block_bytes;
};

const TypeInfo& Info(Type type);

inline bool IsFloat(Type type) { return type == Type::kF32 || type == Type::kF16 || type == Type::kBF16; }
inline bool IsCodes(Type type) { return type >= Type::kC8; }
inline bool IsBlock(Type type) { return Info(type).block_elements > 1 && !IsCodes(type); }
// Do the bytes of such a tensor alone say what its weights are? (Floats and blocks; not integers, nor codes.)
inline bool IsWeight(Type type) { return IsFloat(type) || IsBlock(type); }

// Bytes of a row of `elements`, or nothing if it is not a whole number of blocks or overflows. A row of C4 or C2 may
// end inside a byte.
std::optional<uint64_t> RowBytes(Type type, uint64_t elements);

}  // namespace carat::quant
