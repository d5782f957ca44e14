// What the tests, the fuzzer and the benchmark of the kernels share.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "quant/codes.h"

namespace carat::kernels::testing {

// Memory aligned as panels, planes and tiles ask for.
template <typename T>
struct Aligned64 {
  using value_type = T;
  Aligned64() = default;
  template <typename U>
  explicit(false) Aligned64(const Aligned64<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const Aligned64&) const = default;
};

// Rows of unpacked weights; what a kernel does not write stays recognisable.
struct UnpackedRows {
  UnpackedRows(int64_t rows, int64_t k, int64_t group_columns, bool with_offset)
      : columns(k),
        group(group_columns),
        codes(static_cast<size_t>(rows * k), 77),
        scale(static_cast<size_t>(rows * k / group), 77.0f),
        offset(static_cast<size_t>(with_offset ? rows * k / group : 0), 77.0f) {}
  S8Row Row(int64_t n) {
    return {codes.data() + n * columns, scale.data() + n * (columns / group),
            offset.empty() ? nullptr : offset.data() + n * (columns / group)};
  }

  int64_t columns, group;
  std::vector<int8_t> codes;
  std::vector<float> scale, offset;
};

// A part of the attention of some heads; what a kernel does not write stays recognisable.
struct Part {
  Part(int64_t heads, int64_t d)
      : max(static_cast<size_t>(heads), 77.0f),
        sum(static_cast<size_t>(heads), 77.0f),
        mix(static_cast<size_t>(heads * d), 77.0f) {}
  AttentionPart View() { return {max.data(), sum.data(), mix.data()}; }

  std::vector<float> max, sum, mix;
};

// Rows of activations.
struct ActivationRows {
  ActivationRows(int64_t rows, int64_t k)
      : columns(k),
        codes(static_cast<size_t>(rows * k), 77),
        dealt(static_cast<size_t>(rows * DealtStride()), 77),
        scale(static_cast<size_t>(rows * k / 32), 77.0f),
        lift32(static_cast<size_t>(rows * k / 32), 77),
        lift16(static_cast<size_t>(rows * k / 16), 77) {}
  A8Row Row(int64_t n) {
    return {codes.data() + n * columns, dealt.data() + n * DealtStride(), scale.data() + n * (columns / 32),
            lift32.data() + n * (columns / 32), lift16.data() + n * (columns / 16)};
  }

  int64_t DealtStride() const { return (columns + 127) / 128 * 128; }

  int64_t columns;
  std::vector<int8_t> codes, dealt;
  std::vector<float> scale;
  std::vector<int32_t> lift32, lift16;
};

// The memory of a panel.
class Panel {
 public:
  Panel(int64_t k, int64_t group, bool has_offset)
      : group_(group),
        codes_(static_cast<size_t>(k * kPanelRows), 77),
        scale_(static_cast<size_t>(k / group * kPanelRows), 77.0f),
        offset_(has_offset ? scale_.size() : 0, 77.0f) {}
  S8Panel panel() { return {codes_.data(), scale_.data(), offset_.empty() ? nullptr : offset_.data(), group_}; }
  bool SameRow(const Panel& other, int64_t row) const;

 private:
  int64_t group_;
  std::vector<int8_t, Aligned64<int8_t>> codes_;
  std::vector<float, Aligned64<float>> scale_, offset_;
};

// The first rows of w by the first tokens of x, on panels and tiles that the table packs.
inline void MultiplyPanels(const Kernels& table, UnpackedRows& w, int64_t rows, ActivationRows& x, int64_t tokens,
                           float* y, int64_t y_stride) {
  const int64_t k = w.columns;
  std::vector<A8Block> tiles(static_cast<size_t>((tokens + kTileTokens - 1) / kTileTokens * (k / 32)));
  for (int64_t t = 0; t < tokens; t += kTileTokens)
    table.pack_tile(x.Row(t), tokens - t < kTileTokens ? tokens - t : kTileTokens, k,
                    tiles.data() + t / kTileTokens * (k / 32));
  Panel memory(k, w.group, !w.offset.empty());
  const S8Panel panel = memory.panel();
  for (int64_t n = 0; n < rows; n += kPanelRows) {
    const int64_t wanted = rows - n < kPanelRows ? rows - n : kPanelRows;
    table.pack_panel(w.Row(n), wanted, k, panel);
    table.gemm_panel(panel, wanted, tiles.data(), tokens, k, y + n, y_stride);
  }
}

// Rows of activations of static scale.
struct StaticRows {
  int64_t columns;
  std::vector<int8_t> codes;  // [rows][columns]
  std::vector<StaticRow> rows;
};

// The first rows of w by the first tokens of x, each token alone.
inline void MultiplyCodesAlone(const Kernels& table, quant::Type type, const CodeRows& w, int64_t rows,
                               const StaticRows& x, int64_t tokens, float* y, int64_t y_stride) {
  const int64_t k = x.columns;
  const int planes = 8 / quant::CodeBits(type);
  const int64_t plane = (k / planes + kPlaneStep) / kPlaneStep * kPlaneStep;
  std::vector<int8_t, Aligned64<int8_t>> dealt(static_cast<size_t>(planes * plane), 77);
  for (int64_t t = 0; t < tokens; ++t) {
    table.deal_codes(x.codes.data() + t * k, k, planes, plane, dealt.data());
    table.gemv_codes[static_cast<int>(type)](w, rows, {dealt.data(), plane, x.rows[static_cast<size_t>(t)]}, k,
                                             y + t * y_stride);
  }
}

// The same, on panels and tiles.
inline void MultiplyCodePanels(const Kernels& table, quant::Type type, const CodeRows& w, int64_t rows,
                               const StaticRows& x, int64_t tokens, float* y, int64_t y_stride) {
  const int64_t k = (x.columns + kCodeStep - 1) / kCodeStep * kCodeStep;
  const int64_t tile = table.code_tile_tokens, tiles = (tokens + tile - 1) / tile;
  std::vector<int8_t, Aligned64<int8_t>> tile_codes(static_cast<size_t>(tiles * tile * k), 77);
  for (int64_t t = 0; t < tokens; t += tile) {
    const int64_t count = std::min(tile, tokens - t);
    std::vector<int8_t> codes(static_cast<size_t>(count * k));
    for (int64_t r = 0; r < count; ++r)
      std::copy_n(x.codes.data() + (t + r) * x.columns, x.columns, codes.data() + r * k);
    table.pack_code_tile(codes.data(), count, k, tile_codes.data() + t * k);
  }
  std::vector<StaticRow> tile_rows(x.rows.begin(), x.rows.begin() + tokens);
  tile_rows.resize(static_cast<size_t>(tiles * tile));

  std::vector<int8_t, Aligned64<int8_t>> panel_codes(static_cast<size_t>(kPanelRows * k), 77);
  std::vector<float, Aligned64<float>> panel_scale(kPanelRows, 77.0f);
  const S8Panel panel = {panel_codes.data(), panel_scale.data(), nullptr, k};
  for (int64_t n = 0; n < rows; n += kPanelRows) {
    const int64_t count = rows - n < kPanelRows ? rows - n : kPanelRows;
    table.pack_codes[static_cast<int>(type)]({w.packed + n * w.row_bytes, w.row_bytes, w.scale + n}, count, x.columns,
                                             panel);
    table.gemm_codes[static_cast<int>(type)](panel, count, {tile_codes.data(), tile_rows.data()}, tokens, k, y + n,
                                             y_stride);
  }
}

// Equal bits, except that any NaN is as good as another: which of two NaNs an operation hands on is not defined.
inline bool SameBits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (a != a && b != b);
}
inline bool SameBits(int8_t a, int8_t b) { return a == b; }
inline bool SameBits(uint16_t a, uint16_t b) { return a == b; }
inline bool SameBits(int32_t a, int32_t b) { return a == b; }

inline bool Panel::SameRow(const Panel& other, int64_t row) const {
  for (size_t i = 0; i < codes_.size(); ++i)
    if (static_cast<int64_t>(i) / 4 % kPanelRows == row && codes_[i] != other.codes_[i]) return false;
  for (auto i = static_cast<size_t>(row); i < scale_.size(); i += kPanelRows) {
    if (!SameBits(scale_[i], other.scale_[i])) return false;
    if (!offset_.empty() && !SameBits(offset_[i], other.offset_[i])) return false;
  }
  return true;
}

// Every table that can run here.
inline std::vector<const Kernels*> TablesToTest() {
  std::vector<const Kernels*> tables;
  for (const Kernels* table : AllKernels())
    if (Supported(*table)) tables.push_back(table);
  return tables;
}

// Index of the first difference, or -1.
template <typename A, typename B>
int64_t FirstDifference(const A& a, const B& b) {
  if (a.size() != b.size()) return 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (!SameBits(a[i], b[i])) return static_cast<int64_t>(i);
  return -1;
}

}  // namespace carat::kernels::testing
