// The tables of kernels and the choice between them.
#include "kernels/kernels.h"
#include "kernels/reference/reference.h"
#include "quant/blocks.h"
#ifdef __x86_64__
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/x86/amx.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/tiles.h"
#endif

namespace carat::kernels {
namespace {

using quant::Type;

constexpr size_t Index(Type type) { return static_cast<size_t>(type); }

// Calls f.operator()<kType>() for each of the types of code sums.
template <typename F>
constexpr void ForEachCode(const F& f) {
  f.template operator()<Type::kC8>();
  f.template operator()<Type::kC4>();
  f.template operator()<Type::kC2>();
}

constexpr Kernels ScalarTable() {
  Kernels table = {};
  table.name = "scalar";
  quant::ForEachBlock([&]<typename Block>() {
    table.decode[Index(Block::kType)] = reference::Decode<Block>;
    table.unpack[Index(Block::kType)] = reference::Unpack<Block>;
  });
  table.decode[Index(Type::kF32)] = reference::DecodeF32;
  table.decode[Index(Type::kF16)] = reference::DecodeF16;
  table.decode[Index(Type::kBF16)] = reference::DecodeBf16;
  table.quantize_a8 = reference::QuantizeA8;
  table.gemm_f32 = reference::GemmF32;
  table.pack_panel = reference::PackPanel;
  table.pack_tile = reference::PackTile;
  table.gemm_panel = reference::GemmPanel;
  table.unpack_codes[Index(Type::kG4)] = reference::UnpackCodes<Type::kC4>;
  table.scale_codes = reference::ScaleCodes;
  table.quantize_static = reference::QuantizeStatic;
  table.quantize_dynamic = reference::QuantizeDynamic;
  table.round_static = reference::RoundStatic;
  table.deal_codes = reference::DealCodes;
  table.code_tile_tokens = kTileTokens;
  table.pack_code_tile = reference::PackCodeTile;
  ForEachCode([&]<Type kType>() {
    table.unpack_codes[Index(kType)] = reference::UnpackCodes<kType>;
    table.gemv_codes[Index(kType)] = reference::GemvCodes<kType>;
    table.pack_codes[Index(kType)] = reference::PackCodes<kType>;
    table.gemm_codes[Index(kType)] = reference::GemmCodes;
  });
  table.rms_norm = reference::RmsNorm;
  table.add_rms_norm = reference::AddRmsNorm;
  table.gelu_mul = reference::GeluMul;
  table.soft_cap = reference::SoftCap;
  table.attention_scores = reference::AttentionScores;
  table.attention_softmax = reference::AttentionSoftmax;
  table.attention_mix = reference::AttentionMix;
  table.attention_merge = reference::AttentionMerge;
  table.to_f16 = reference::ToF16;
  return table;
}

constexpr Kernels kScalar = ScalarTable();

#ifdef __x86_64__

constexpr Kernels Avx2Table() {
  Kernels table = kScalar;
  table.name = "avx2";
  quant::ForEachBlock([&]<typename Block>() {
    table.decode[Index(Block::kType)] = avx2::Decode<Block>;
    table.unpack[Index(Block::kType)] = avx2::Unpack<Block>;
    table.gemv_block[Index(Block::kType)] = avx2::Gemv<Block>;
  });
  table.decode[Index(Type::kF16)] = avx2::DecodeF16;
  table.decode[Index(Type::kBF16)] = avx2::DecodeBf16;
  table.quantize_a8 = avx2::QuantizeA8;
  table.gemm_f32 = avx2::GemmF32;
  table.pack_panel = avx2::PackPanel;
  table.pack_tile = avx2::PackTile;
  table.pack_code_tile = avx2::PackCodeTile;
  table.gemm_panel = avx2::GemmPanel;
  table.gemv_float[Index(Type::kF32)] = avx2::GemvF32;
  table.gemv_float[Index(Type::kF16)] = avx2::GemvF16;
  table.gemv_float[Index(Type::kBF16)] = avx2::GemvBf16;
  table.unpack_codes[Index(Type::kG4)] = avx2::UnpackCodes<Type::kC4>;
  table.scale_codes = avx2::ScaleCodes;
  table.gemv_codes_float[Index(Type::kC2)] = avx2::GemvC2Float;
  table.gemv_codes_float[Index(Type::kG4)] = avx2::GemvG4Float;
  table.quantize_static = avx2::QuantizeStatic;
  table.quantize_dynamic = avx2::QuantizeDynamic;
  table.round_static = avx2::RoundStatic;
  table.deal_codes = avx2::DealCodes;
  ForEachCode([&]<Type kType>() {
    table.unpack_codes[Index(kType)] = avx2::UnpackCodes<kType>;
    table.gemv_codes[Index(kType)] = avx2::GemvCodes<kType>;
    table.pack_codes[Index(kType)] = avx2::PackCodes<kType>;
    table.gemm_codes[Index(kType)] = avx2::GemmCodes<kType>;
  });
  table.rms_norm = avx2::RmsNorm;
  table.add_rms_norm = avx2::AddRmsNorm;
  table.gelu_mul = avx2::GeluMul;
  table.soft_cap = avx2::SoftCap;
  table.attention_scores = avx2::AttentionScores;
  table.attention_softmax = avx2::AttentionSoftmax;
  table.attention_mix = avx2::AttentionMix;
  table.attention_merge = avx2::AttentionMerge;
  table.to_f16 = avx2::ToF16;
  table.peak_int8 = avx2::PeakInt8;
  table.peak_float = avx2::PeakFloat;
  return table;
}

constexpr Kernels kAvx2 = Avx2Table();

constexpr Kernels Avx512Table() {
  Kernels table = kAvx2;
  table.name = "avx512";
  quant::ForEachBlock([&]<typename Block>() { table.gemv_block[Index(Block::kType)] = avx512::Gemv<Block>; });
#define CARAT_ADD(Block)                                                        \
  table.gemv_interleaved[Index(Block::kType)] = avx512::GemvInterleaved<Block>; \
  table.panel_interleaved[Index(Block::kType)] = avx512::PanelInterleaved<Block>;
  CARAT_FOR_EACH_INTERLEAVED(CARAT_ADD)
#undef CARAT_ADD
  table.gemm_f32 = avx512::GemmF32;
  table.pack_panel = avx512::PackPanel;
  table.gemm_panel = avx512::GemmPanel;
  table.gemv_codes_float[Index(Type::kC2)] = avx512::GemvC2Float;
  table.gemv_codes_float[Index(Type::kG4)] = avx512::GemvG4Float;
  ForEachCode([&]<Type kType>() {
    table.gemv_codes[Index(kType)] = avx512::GemvCodes<kType>;
    table.pack_codes[Index(kType)] = avx512::PackCodes<kType>;
    table.gemm_codes[Index(kType)] = avx512::GemmCodes;
    table.gemv_codes_interleaved[Index(kType)] = avx512::GemvCodesInterleaved<kType>;
    table.panel_codes_interleaved[Index(kType)] = avx512::PanelCodesInterleaved<kType>;
  });
  table.rms_norm = avx512::RmsNorm;
  table.add_rms_norm = avx512::AddRmsNorm;
  table.gelu_mul = avx512::GeluMul;
  table.attention_scores = avx512::AttentionScores;
  table.attention_softmax = avx512::AttentionSoftmax;
  table.attention_mix = avx512::AttentionMix;
  table.attention_merge = avx512::AttentionMerge;
  table.peak_int8 = avx512::PeakInt8;
  table.peak_float = avx512::PeakFloat;
  return table;
}

constexpr Kernels kAvx512 = Avx512Table();

constexpr Kernels AmxTable() {
  Kernels table = kAvx512;
  table.name = "amx";
  table.code_tile_tokens = x86::kTileRows;
  table.pack_code_tile = amx::PackCodeTile;
  ForEachCode([&]<Type kType>() { table.gemm_codes[Index(kType)] = amx::GemmCodes; });
  table.bf16 = &amx::kBf16;
  table.peak_int8 = amx::PeakInt8;
  return table;
}

constexpr Kernels kAmx = AmxTable();
constexpr const Kernels* kAll[] = {&kScalar, &kAvx2, &kAvx512, &kAmx};

// Linux saves the 8 KiB of tile registers for those alone who have asked for them, once for all threads of a process.
bool MayUseTiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, in headers since Linux 5.16
  static const bool granted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

// These ask the operating system too, whether it saves the registers.
bool CpuHas(std::string_view name) {
  if (name == "avx2")
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (name == "avx512")
    return CpuHas("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
  if (name == "amx")
    return CpuHas("avx512") && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("amx-tile") &&
           __builtin_cpu_supports("amx-int8") && __builtin_cpu_supports("amx-bf16") && MayUseTiles();
  return name == "scalar";
}

#else

constexpr const Kernels* kAll[] = {&kScalar};

bool CpuHas(std::string_view name) { return name == "scalar"; }

#endif

}  // namespace

bool HasOffset(Type type) {
  bool has_offset = false;
  quant::ForEachBlock([&]<typename Block>() {
    if (Block::kType == type) has_offset = Block::kHasOffset;
  });
  return has_offset;
}

int64_t GroupColumns(Type type) {
  int64_t columns = 32;
  quant::ForEachBlock([&]<typename Block>() {
    if (Block::kType == type) columns = Block::kGroup;
  });
  return columns;
}

std::span<const Kernels* const> AllKernels() { return kAll; }

bool Supported(const Kernels& kernels) { return CpuHas(kernels.name); }

const Kernels* SelectKernels(std::string_view name) {
  const Kernels* chosen = nullptr;
  for (const Kernels* table : AllKernels())
    if ((name.empty() || name == table->name) && Supported(*table)) chosen = table;
  return chosen;
}

}  // namespace carat::kernels
