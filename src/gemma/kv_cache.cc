#include "gemma/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/resident.h"
#include "base/try.h"

namespace carat::gemma {

namespace {
// Tokens that can be rolled back for free on top of a batch: more than any draft of a speculative decoder is long.
constexpr int kRollbackSlack = 64;

int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

float* Floats(const LazyMemory& memory) { return reinterpret_cast<float*>(memory.data()); }
}  // namespace

Result<KvCache> KvCache::Create(const DecoderConfig& config, kernels::KvType type, int context, int max_batch,
                                std::span<const KvScales> scales) {
  KvCache cache;
  cache.config_ = &config;
  cache.type_ = type;
  cache.context_ = context;
  cache.layers_.resize(config.layers.size());
  for (int index = 0; index < config.layer_count(); ++index) {
    if (!config.OwnsKv(index)) continue;
    const LayerConfig& layer = config.layers[static_cast<size_t>(index)];
    Layer& own = cache.layers_[static_cast<size_t>(index)];
    // In whole blocks, so that none wraps round.
    const int64_t ring = RoundUp(int64_t{config.window} + max_batch + kRollbackSlack, kernels::kKeyBlock);
    own.ring = layer.kind == LayerKind::kSliding && ring < context;
    own.capacity = own.ring ? ring : context;
    own.row_bytes = int64_t{layer.kv_heads} * layer.head_dim * kernels::KvBytes(type);
    const auto bytes = static_cast<size_t>(own.capacity * own.row_bytes);
    TRY_ASSIGN(own.keys, LazyMemory::Allocate(bytes, "a KV cache"));
    TRY_ASSIGN(own.values, LazyMemory::Allocate(bytes, "a KV cache"));
    if (type != kernels::KvType::kI8) continue;
    if (!scales.empty()) own.scales = scales[static_cast<size_t>(index)];
    const auto scale_bytes = static_cast<size_t>(layer.kv_heads * own.capacity) * sizeof(float);
    TRY_ASSIGN(own.key_scales, LazyMemory::Allocate(scale_bytes, "the scales of a KV cache"));
    TRY_ASSIGN(own.value_scales, LazyMemory::Allocate(scale_bytes, "the scales of a KV cache"));
  }
  return cache;
}

bool KvCache::Write(int layer, int64_t position, const float* k, const float* v, const kernels::Kernels& kernels) {
  const Layer& own = layers_[static_cast<size_t>(layer)];
  const LayerConfig& shape = config_->layers[static_cast<size_t>(layer)];
  CHECK(own.capacity > 0 && position >= length_ && position < context_);
  const int64_t row = position % own.capacity;
  // `x` to row `row` of `memory`. False: there is a NaN that has no code.
  const auto write = [&](const float* x, float static_scale, const LazyMemory& memory, const LazyMemory& scales) {
    std::byte* to = memory.data() + row * own.row_bytes;
    if (type_ == kernels::KvType::kF32) std::memcpy(to, x, static_cast<size_t>(own.row_bytes));
    if (type_ == kernels::KvType::kF16) kernels.to_f16(x, own.row_bytes / 2, reinterpret_cast<uint16_t*>(to));
    if (type_ != kernels::KvType::kI8) return true;
    bool numbers = true;
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      const int64_t offset = head * shape.head_dim;
      auto* codes = reinterpret_cast<int8_t*>(to + offset);
      const float scale = (static_scale == 0 ? kernels.quantize_dynamic(x + offset, shape.head_dim, codes)
                                             : kernels.quantize_static(x + offset, shape.head_dim, static_scale, codes))
                              .scale;
      Floats(scales)[head * own.capacity + row] = scale;
      numbers = numbers && !std::isnan(scale);
    }
    return numbers;
  };
  const bool keys_written = write(k, own.scales.key, own.keys, own.key_scales);
  return write(v, own.scales.value, own.values, own.value_scales) && keys_written;
}

ops::KvView KvCache::View(int layer) const {
  const LayerConfig& reader = config_->layers[static_cast<size_t>(layer)];
  const Layer& own = layers_[static_cast<size_t>(reader.kv_layer)];
  return {.keys = own.keys.data(),
          .values = own.values.data(),
          .type = type_,
          .capacity = own.capacity,
          .kv_heads = reader.kv_heads,
          .head_dim = reader.head_dim,
          .key_scales = Floats(own.key_scales),
          .value_scales = Floats(own.value_scales)};
}

void KvCache::Extend(int64_t tokens) {
  length_ += tokens;
  written_ = std::max(written_, length_);
  CHECK(length_ <= context_);
}

bool KvCache::CanTruncate(int64_t length) const {
  if (length == 0) return true;
  // The next token, at `length`, sees positions from length - W + 1 on; the ring still holds the last `capacity`
  // written.
  const int64_t oldest_needed = std::max<int64_t>(0, length - config_->window + 1);
  return std::all_of(layers_.begin(), layers_.end(),
                     [&](const Layer& layer) { return !layer.ring || oldest_needed >= written_ - layer.capacity; });
}

void KvCache::Truncate(int64_t length) {
  CHECK(length <= length_ && CanTruncate(length));
  length_ = length;
  if (length == 0) written_ = 0;
}

uint64_t KvCache::resident_bytes() const {
  uint64_t bytes = 0;
  for (const Layer& layer : layers_)
    for (const LazyMemory* memory : {&layer.keys, &layer.values, &layer.key_scales, &layer.value_scales})
      bytes += ResidentBytes(memory->data(), memory->size());
  return bytes;
}

uint64_t KvCache::reserved_bytes() const {
  uint64_t bytes = 0;
  for (const Layer& layer : layers_)
    for (const LazyMemory* memory : {&layer.keys, &layer.values, &layer.key_scales, &layer.value_scales})
      bytes += RoundUpToPages(memory->size());
  return bytes;
}

uint64_t KvCache::attended_bytes(int64_t length) const {
  uint64_t bytes = 0;
  for (const LayerConfig& reader : config_->layers) {
    const Layer& own = layers_[static_cast<size_t>(reader.kv_layer)];
    const int64_t rows = reader.kind == LayerKind::kSliding ? std::min(length + 1, config_->window) : length + 1;
    const int64_t scale_bytes = type_ == kernels::KvType::kI8 ? reader.kv_heads * int64_t{sizeof(float)} : 0;
    bytes += static_cast<uint64_t>(2 * rows * (own.row_bytes + scale_bytes));
  }
  return bytes;
}

}  // namespace carat::gemma
