// The code formats: whatever the weights, activations and scales, every table of kernels computes the same bits.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/emulated_tiles.h"
#include "kernels/kernels.h"
#include "kernels/testing.h"
#include "quant/codes.h"

namespace carat {

using kernels::Kernels;
using quant::Type;

namespace {

// Numbers of the input, zeros behind its end.
struct Input {
  const uint8_t* data;
  size_t size;
  template <typename T>
  T Take() {
    T value = {};
    const size_t bytes = size < sizeof(T) ? size : sizeof(T);
    std::memcpy(&value, data, bytes);
    data += bytes;
    size -= bytes;
    return value;
  }
};

struct Case {
  Type type;
  int64_t k, rows, tokens;
  std::vector<std::byte> packed;
  int64_t group;  // codes of a row that share a scale
  std::vector<float> w_scale, x;
  float x_scale;
};

// What a table makes of a case, step by step.
struct Answer {
  std::vector<int8_t> weights, codes;
  std::vector<float> floats, rounded, scale, alone, together, one;
  std::vector<int32_t> sum;
};

Answer Compute(const Kernels& table, const Case& in) {
  Answer out;
  const auto type = static_cast<size_t>(in.type);
  const int64_t row_bytes = static_cast<int64_t>(in.packed.size()) / in.rows;
  const auto columns = static_cast<size_t>(in.k);
  out.weights.resize(columns);
  out.floats.resize(columns);
  table.unpack_codes[type](in.packed.data(), in.k, out.weights.data());
  table.scale_codes(out.weights.data(), in.w_scale[0], in.k, out.floats.data());
  out.rounded = in.x;
  table.round_static(out.rounded.data(), static_cast<int64_t>(out.rounded.size()), in.x_scale);
  kernels::testing::StaticRows x = {.columns = in.k, .codes = std::vector<int8_t>(in.x.size()), .rows = {}};
  for (int64_t t = 0; t < in.tokens; ++t) {
    x.rows.push_back(table.quantize_static(in.x.data() + t * in.k, in.k, in.x_scale, x.codes.data() + t * in.k));
    out.scale.push_back(x.rows.back().scale);
    out.sum.push_back(x.rows.back().sum);
  }
  std::vector<int8_t> dynamic(columns);
  out.scale.push_back(table.quantize_dynamic(in.x.data(), in.k, dynamic.data()).scale);
  if (table.gemm_codes[type] != nullptr) {
    const kernels::CodeRows w = {.packed = in.packed.data(), .row_bytes = row_bytes, .scale = in.w_scale.data()};
    out.alone.resize(static_cast<size_t>(in.tokens * in.rows));
    out.together = out.alone;
    kernels::testing::MultiplyCodesAlone(table, in.type, w, in.rows, x, in.tokens, out.alone.data(), in.rows);
    kernels::testing::MultiplyCodePanels(table, in.type, w, in.rows, x, in.tokens, out.together.data(), in.rows);
  }
  out.codes = std::move(x.codes);
  out.codes.insert(out.codes.end(), dynamic.begin(), dynamic.end());
  // One token with float activations, in one step or in two.
  out.one.resize(static_cast<size_t>(in.rows));
  if (table.gemv_codes_float[type] != nullptr) {
    table.gemv_codes_float[type]({.packed = in.packed.data(), .row_bytes = row_bytes, .scale = in.w_scale.data()},
                                 in.rows, in.x.data(), in.k, out.one.data());
    return out;
  }
  std::vector<int8_t> codes(columns);
  std::vector<float> weights(columns);
  for (int64_t n = 0; n < in.rows; ++n) {
    table.unpack_codes[type](in.packed.data() + n * row_bytes, in.k, codes.data());
    for (int64_t i = 0; i < in.k; i += in.group)
      table.scale_codes(codes.data() + i, in.w_scale[static_cast<size_t>((n * in.k + i) / in.group)], in.group,
                        weights.data() + i);
    table.gemm_f32(weights.data(), in.k, 1, in.x.data(), in.k, 1, in.k, &out.one[static_cast<size_t>(n)], 1);
  }
  return out;
}

template <typename T>
void MustBeSame(const T& a, const T& b) {
  if (kernels::testing::FirstDifference(a, b) >= 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input = {data, size};
  static constexpr Type kTypes[] = {Type::kC8, Type::kC4, Type::kC2, Type::kG4};
  Case in;
  in.type = kTypes[input.Take<uint8_t>() % 4];
  in.k = 1 + input.Take<uint16_t>() % 700;
  if (in.type == Type::kG4) in.k = (in.k + quant::kG4Group - 1) / quant::kG4Group * quant::kG4Group;
  in.group = in.type == Type::kG4 ? quant::kG4Group : in.k;
  in.rows = 1 + input.Take<uint8_t>() % 40;
  in.tokens = 1 + input.Take<uint8_t>() % 20;
  in.x_scale = std::abs(input.Take<float>());
  if (!(in.x_scale > 0) || in.x_scale > 1e38f) in.x_scale = 0.0123f;
  for (int64_t n = 0; n < in.rows * in.k / in.group; ++n) in.w_scale.push_back(input.Take<float>());
  in.packed.resize(static_cast<size_t>(in.rows) * *quant::RowBytes(in.type, static_cast<uint64_t>(in.k)));
  for (std::byte& byte : in.packed) byte = input.Take<std::byte>();
  // Activations as floats of any kind, or as small numbers and a half.
  const bool any_bits = input.Take<uint8_t>() % 2 == 0;
  for (int64_t i = 0; i < in.tokens * in.k; ++i)
    in.x.push_back(any_bits ? input.Take<float>() : (static_cast<float>(input.Take<int8_t>()) + 0.5f) * in.x_scale);

  std::vector<const Kernels*> tables = kernels::testing::TablesToTest();
  tables.push_back(&kernels::testing::EmulatedAmx());
  const Answer expected = Compute(*tables[0], in);
  for (const Kernels* table : tables) {
    const Answer actual = Compute(*table, in);
    MustBeSame(actual.weights, expected.weights);
    MustBeSame(actual.floats, expected.floats);
    MustBeSame(actual.rounded, expected.rounded);
    MustBeSame(actual.codes, expected.codes);
    MustBeSame(actual.scale, expected.scale);
    MustBeSame(actual.alone, expected.alone);
    MustBeSame(actual.together, expected.alone);
    MustBeSame(actual.one, expected.one);
    if (actual.sum != expected.sum) std::abort();
  }
  return 0;
}

}  // namespace carat
