// The kernels: whatever the numbers and sizes, every table computes the same bits as the scalar one, or, of blocks in
// bfloat16, as their scalar kernels, on emulated tiles too. (The code formats have fuzz_codes.)
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/float16.h"
#include "kernels/emulated_tiles.h"
#include "kernels/kernels.h"
#include "kernels/testing.h"
#include "quant/interleave.h"
#include "quant/type.h"

namespace carat {

using kernels::Kernels;
using kernels::KvType;
using quant::Type;

namespace {

// Numbers of the input; behind its end pseudo-random ones, so that short inputs fill large arrays.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size), state_(size * 0x9E3779B97F4A7C15u + 1) {}

  template <typename T>
  T Take() {
    T value;
    if (size_ < sizeof(T)) {
      state_ ^= state_ << 13;
      state_ ^= state_ >> 7;
      state_ ^= state_ << 17;
      std::memcpy(&value, &state_, sizeof(T));
      return value;
    }
    std::memcpy(&value, data_, sizeof(T));
    data_ += sizeof(T);
    size_ -= sizeof(T);
    return value;
  }
  int64_t Size(int64_t most) { return 1 + Take<uint16_t>() % most; }
  std::vector<std::byte> Bytes(int64_t count) {
    std::vector<std::byte> bytes(static_cast<size_t>(count));
    for (std::byte& byte : bytes) byte = Take<std::byte>();
    return bytes;
  }
  // Bit patterns of any kind, or numbers of a moderate size.
  std::vector<float> Floats(int64_t count) {
    const bool any_bits = Take<uint8_t>() % 4 == 0;
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = any_bits ? Take<float>() : static_cast<float>(Take<int16_t>()) / 1024.0f;
    return values;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  uint64_t state_;
};

using Floats = std::vector<float>;

// What a table answers, and a list of such to compare.
struct Answer {
  std::vector<Floats> floats;
  std::vector<std::vector<uint16_t>> halves;
  std::vector<std::vector<int8_t>> codes;
  std::vector<std::vector<int32_t>> integers = {};
};

void MustBeSame(const Answer& a, const Answer& b) {
  const auto compare = [](const auto& x, const auto& y) {
    if (x.size() != y.size()) std::abort();
    for (size_t i = 0; i < x.size(); ++i)
      if (kernels::testing::FirstDifference(x[i], y[i]) >= 0) std::abort();
  };
  compare(a.floats, b.floats);
  compare(a.halves, b.halves);
  compare(a.codes, b.codes);
  compare(a.integers, b.integers);
}

// Runs `compute` on every table.
template <typename F>
void OnEveryTable(const F& compute) {
  const std::vector<const Kernels*> tables = kernels::testing::TablesToTest();
  const Answer expected = compute(*tables[0]);
  for (const Kernels* table : tables) MustBeSame(compute(*table), expected);
}

constexpr int64_t kMost = 9;  // rows and tokens: above the float tiles of every table

// The first panel of rows woven together equals that of rows that were unpacked.
void MustPackTheSame(const Kernels& table, Type type, kernels::testing::UnpackedRows& weights,
                     const std::vector<std::byte>& woven, int64_t rows, int64_t k) {
  rows = std::min(rows, kernels::kPanelRows);
  const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
  kernels::testing::Panel expected(k, weights.group, !weights.offset.empty()), actual = expected;
  table.pack_panel(weights.Row(0), rows, k, expected.panel());
  table.panel_interleaved[static_cast<size_t>(type)](woven.data(), row_bytes, rows, k, actual.panel());
  for (int64_t row = 0; row < rows; ++row)
    if (!actual.SameRow(expected, row)) std::abort();
}

using Bf16s = std::vector<uint16_t, kernels::testing::Aligned64<uint16_t>>;

Floats Widened(const Bf16s& numbers) {
  Floats floats;
  for (const uint16_t number : numbers) floats.push_back(Bf16ToFloat(number));
  return floats;
}

// As a level makes them of some rows of blocks: their weights, the activations, and products of tokens alone, together
// and, where it has those, of rows woven together (which repeat the first token's).
Answer Bf16Answer(const kernels::Bf16Products& bf16, Type type, const std::vector<std::byte>& packed, int64_t rows,
                  const Floats& x, int64_t tokens, int64_t k) {
  constexpr int64_t kPanelRows = kernels::kPanelRows, kTile = kernels::kBf16TileTokens;
  const auto index = static_cast<size_t>(type);
  const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
  kernels::testing::UnpackedRows row(1, k, kernels::GroupColumns(type), kernels::HasOffset(type));
  Bf16s w(static_cast<size_t>(rows * k)), rounded(static_cast<size_t>(tokens * k));
  for (int64_t n = 0; n < rows; ++n) {
    kernels::AllKernels()[0]->unpack[index](packed.data() + n * row_bytes, row.Row(0), k);
    bf16.widen(row.Row(0), row.group, k, w.data() + n * k);
  }
  Bf16s panel(static_cast<size_t>(kPanelRows * k)), tiles(static_cast<size_t>((tokens + kTile) / kTile * kTile * k));
  bf16.pack_panel(w.data(), rows, k, panel.data());
  for (int64_t t = 0; t < tokens; ++t) bf16.round(x.data() + t * k, k, rounded.data() + t * k);
  for (int64_t t = 0; t < tokens; t += kTile)
    bf16.pack_tile(rounded.data() + t * k, std::min(kTile, tokens - t), k, tiles.data() + t * k);
  Floats together(static_cast<size_t>(rows * tokens)), alone = together, woven_first;
  bf16.gemm(panel.data(), rows, tiles.data(), tokens, k, together.data(), rows);
  for (int64_t t = 0; t < tokens; ++t) bf16.gemv(w.data(), rows, rounded.data() + t * k, k, alone.data() + t * rows);
  if (kernels::testing::FirstDifference(together, alone) >= 0) std::abort();

  const int64_t whole = rows / quant::kInterleavedRows * quant::kInterleavedRows;
  if (bf16.gemv_interleaved[index] != nullptr && whole > 0) {
    std::vector<std::byte> woven(static_cast<size_t>(whole * row_bytes));
    const quant::BlockParts parts = quant::PartsOf(type);
    for (int64_t n = 0; n < whole; n += quant::kInterleavedRows)
      quant::Interleave(parts, row_bytes / parts.bytes, packed.data() + n * row_bytes, row_bytes,
                        woven.data() + n * row_bytes);
    std::fill_n(alone.begin(), whole, 77.0f);
    bf16.gemv_interleaved[index](woven.data(), row_bytes, whole, rounded.data(), k, alone.data());
    Bf16s actual = panel;
    bf16.panel_interleaved[index](woven.data(), row_bytes, whole, k, actual.data());
    for (size_t i = 0; i < actual.size(); ++i)  // rows that are missing mean nothing
      if (static_cast<int64_t>(i) / 2 % kPanelRows >= whole) actual[i] = panel[i];
    if (kernels::testing::FirstDifference(Widened(actual), Widened(panel)) >= 0) std::abort();
  }
  return {.floats = {Widened(w), Widened(rounded), alone}, .halves = {}, .codes = {}};
}

void Bf16BlockProducts(Type type, const std::vector<std::byte>& packed, int64_t rows, const Floats& x, int64_t tokens,
                       int64_t k) {
  rows = std::min(rows, kernels::kPanelRows);
  const auto answer = [&](const kernels::Bf16Products& bf16) {
    return Bf16Answer(bf16, type, packed, rows, x, tokens, k);
  };
  const Answer expected = answer(kernels::reference::kBf16);
  MustBeSame(answer(kernels::testing::EmulatedBf16()), expected);
  for (const Kernels* table : kernels::testing::TablesToTest())
    if (table->bf16 != nullptr) MustBeSame(answer(*table->bf16), expected);
}

void BlockProducts(Input& input, Type type) {
  const auto index = static_cast<size_t>(type);
  const int64_t k = input.Size(600 / quant::Info(type).block_elements) * quant::Info(type).block_elements;
  const int64_t rows = input.Size(2 * kernels::kPanelRows), tokens = input.Size(2 * kernels::kTileTokens + 1);
  const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
  const std::vector<std::byte> packed = input.Bytes(rows * row_bytes);
  const Floats x = input.Floats(tokens * k);
  OnEveryTable([&](const Kernels& table) {
    Floats decoded(static_cast<size_t>(rows * k)), y(static_cast<size_t>(rows * tokens));
    kernels::testing::UnpackedRows weights(rows, k, kernels::GroupColumns(type), kernels::HasOffset(type));
    kernels::testing::ActivationRows rounded(tokens, k);
    for (int64_t n = 0; n < rows; ++n) {
      table.decode[index](packed.data() + n * row_bytes, decoded.data() + n * k, k);
      table.unpack[index](packed.data() + n * row_bytes, weights.Row(n), k);
    }
    for (int64_t t = 0; t < tokens; ++t) table.quantize_a8(x.data() + t * k, k, rounded.Row(t));
    kernels::testing::MultiplyPanels(table, weights, rows, rounded, tokens, y.data(), rows);
    if (table.gemv_block[index] != nullptr)  // must repeat the first token's row
      table.gemv_block[index](packed.data(), row_bytes, rows, rounded.Row(0), k, y.data());
    const int64_t whole = rows / quant::kInterleavedRows * quant::kInterleavedRows;
    if (table.gemv_interleaved[index] != nullptr && whole > 0) {  // so must this
      std::vector<std::byte> woven(static_cast<size_t>(whole * row_bytes));
      const quant::BlockParts parts = quant::PartsOf(type);
      for (int64_t n = 0; n < whole; n += quant::kInterleavedRows)
        quant::Interleave(parts, row_bytes / parts.bytes, packed.data() + n * row_bytes, row_bytes,
                          woven.data() + n * row_bytes);
      std::fill_n(y.begin(), whole, 77.0f);
      table.gemv_interleaved[index](woven.data(), row_bytes, whole, rounded.Row(0), k, y.data());
      MustPackTheSame(table, type, weights, woven, whole, k);
    }
    return Answer{.floats = {decoded, y, weights.scale, weights.offset, rounded.scale},
                  .halves = {},
                  .codes = {weights.codes, rounded.codes, rounded.dealt},
                  .integers = {rounded.lift32, rounded.lift16}};
  });
  Bf16BlockProducts(type, packed, rows, x, tokens, k);
}

void FloatProducts(Input& input, Type type) {
  const auto index = static_cast<size_t>(type);
  const int64_t k = input.Size(300), rows = input.Size(kMost), tokens = input.Size(kMost);
  const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
  const std::vector<std::byte> packed = input.Bytes(rows * row_bytes);
  const Floats x = input.Floats(tokens * k);
  OnEveryTable([&](const Kernels& table) {
    Floats decoded(static_cast<size_t>(rows * k)), y(static_cast<size_t>(rows * tokens));
    for (int64_t n = 0; n < rows; ++n) table.decode[index](packed.data() + n * row_bytes, decoded.data() + n * k, k);
    table.gemm_f32(decoded.data(), k, rows, x.data(), k, tokens, k, y.data(), rows);
    if (table.gemv_float[index] != nullptr)
      table.gemv_float[index](packed.data(), row_bytes, rows, x.data(), k, y.data());
    return Answer{.floats = {decoded, y}, .halves = {}, .codes = {}};
  });
}

void ElementWise(Input& input) {
  const int64_t n = input.Size(200);
  const Floats x = input.Floats(n), other = input.Floats(n);
  OnEveryTable([&](const Kernels& table) {
    Floats normed = x, plain = x, added = x, gelu = x, capped = x;
    std::vector<uint16_t> halves(x.size());
    table.rms_norm(x.data(), other.data(), 1e-6f, n, normed.data());
    table.rms_norm(x.data(), nullptr, 1e-6f, n, plain.data());
    table.add_rms_norm(other.data(), x.data(), 1e-6f, n, added.data());
    table.gelu_mul(x.data(), other.data(), n, gelu.data());
    table.soft_cap(capped.data(), n, 30.0f);
    table.to_f16(x.data(), n, halves.data());
    return Answer{.floats = {normed, plain, added, gelu, capped}, .halves = {halves}, .codes = {}};
  });
}

void Attention(Input& input) {
  constexpr KvType kTypes[] = {KvType::kF32, KvType::kF16, KvType::kI8};
  const KvType type = kTypes[input.Take<uint8_t>() % 3];
  const int64_t d = input.Size(100), n = input.Size(kernels::kKeyBlock), heads = input.Size(2 * kMost);
  const std::vector<std::byte> cache = input.Bytes(n * d * kernels::KvBytes(type));
  const Floats q = input.Floats(heads * d), p = input.Floats(heads * kernels::kKeyBlock);
  const Floats key_scale = input.Floats(n), value_scale = input.Floats(n), mix = input.Floats(heads * d);
  const bool scaled = input.Take<uint8_t>() % 2 == 1;
  OnEveryTable([&](const Kernels& table) {
    const kernels::KvRows rows = {cache.data(), type, d};
    Floats scores(p.size()), weights = p;
    kernels::testing::Part part(heads, d), merged(heads, d);
    merged.mix = mix;
    table.attention_scores(q.data(), heads, d, rows, n, scores.data());
    table.attention_softmax(weights.data(), heads, n, scaled ? key_scale.data() : nullptr,
                            scaled ? value_scale.data() : nullptr, part.View());
    table.attention_mix(p.data(), heads, d, rows, n, part.mix.data());
    table.attention_merge(part.View(), heads, d, merged.View());
    return Answer{.floats = {scores, weights, part.max, part.sum, part.mix, merged.max, merged.sum, merged.mix},
                  .halves = {},
                  .codes = {}};
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const int choice = input.Take<uint8_t>() % (quant::kTypeCount + 2);
  const auto type = static_cast<Type>(choice);
  if (choice == quant::kTypeCount)
    ElementWise(input);
  else if (choice == quant::kTypeCount + 1)
    Attention(input);
  else if (quant::IsFloat(type))
    FloatProducts(input, type);
  else if (quant::IsBlock(type))
    BlockProducts(input, type);
  return 0;
}

}  // namespace carat
