// The code formats byte by byte: how Google's low-bit releases and compressed-tensors store a row of weights. Scales
// are not among the codes, as in a block, but in a tensor of their own:
//   w[row][k] = q * scale[row][k / group]
//
//   C8, C4, C2   "per channel": one scale (F32) for a whole row of a linear, or for equal parts of the row of an
//                embedding (the PLE table has one for every layer). The group is whatever the scales' shape says.
//   G4           groups of 32 along the row (W4A16); scales F32, F16 or BF16
//
// Code k of a row is the b bits from bit k*b of the row's bytes on, counted from the least significant, as an unsigned
// number u; q = u - 2^(b-1): -8 .. 7 or -2 .. 1. With 8 bits, q is the byte itself, in two's complement. A row starts
// at a whole byte; the bits behind its last code mean nothing. (int32 words of 8 codes, as compressed-tensors has them,
// are the same bytes.)
#pragma once

#include <cstdint>

#include "quant/type.h"

namespace carat::quant {

inline constexpr int kG4Group = 32;

// Bits of a code.
constexpr int CodeBits(Type type) { return type == Type::kC8 ? 8 : type == Type::kC2 ? 2 : 4; }

// Sums of products of codes and 8-bit activations are exact in 32 bits up to this many columns.
constexpr int64_t MaxExactColumns(Type type) { return (int64_t{1} << 31) / 128 / (1 << (CodeBits(type) - 1)) - 1; }

}  // namespace carat::quant
