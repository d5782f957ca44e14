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
    const int64_t ring = int64_t{config.window} + max_batch + kRollbackSlack;
    own.ring = layer.kind == LayerKind::kSliding && ring < context;
    own.capacity = own.ring ? ring : context;
    own.row_bytes = int64_t{layer.kv_heads} * layer.head_dim * kernels::KvBytes(type);
    if (type == kernels::KvType::kI8) own.scales = scales[static_cast<size_t>(index)];
    const auto bytes = static_cast<size_t>(own.capacity * own.row_bytes);
    TRY_ASSIGN(own.keys, LazyMemory::Allocate(bytes, "a KV cache"));
    TRY_ASSIGN(own.values, LazyMemory::Allocate(bytes, "a KV cache"));
  }
  return cache;
}

bool KvCache::Write(int layer, int64_t position, const float* k, const float* v, const kernels::Kernels& kernels) {
  const Layer& own = layers_[static_cast<size_t>(layer)];
  CHECK(own.capacity > 0 && position >= length_ && position < context_);
  const int64_t offset = position % own.capacity * own.row_bytes;
  if (type_ == kernels::KvType::kF16) {
    kernels.to_f16(k, own.row_bytes / 2, reinterpret_cast<uint16_t*>(own.keys.data() + offset));
    kernels.to_f16(v, own.row_bytes / 2, reinterpret_cast<uint16_t*>(own.values.data() + offset));
  } else if (type_ == kernels::KvType::kI8) {
    auto* keys = reinterpret_cast<int8_t*>(own.keys.data() + offset);
    auto* values = reinterpret_cast<int8_t*>(own.values.data() + offset);
    const float key_scale = kernels.quantize_static(k, own.row_bytes, own.scales.key, keys).scale;
    const float value_scale = kernels.quantize_static(v, own.row_bytes, own.scales.value, values).scale;
    return !std::isnan(key_scale) && !std::isnan(value_scale);
  } else {
    std::memcpy(own.keys.data() + offset, k, static_cast<size_t>(own.row_bytes));
    std::memcpy(own.values.data() + offset, v, static_cast<size_t>(own.row_bytes));
  }
  return true;
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
          .key_scale = own.scales.key,
          .value_scale = own.scales.value};
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
    bytes +=
        ResidentBytes(layer.keys.data(), layer.keys.size()) + ResidentBytes(layer.values.data(), layer.values.size());
  return bytes;
}

uint64_t KvCache::allocated_bytes() const {
  uint64_t bytes = 0;
  for (const Layer& layer : layers_) bytes += layer.keys.size() + layer.values.size();
  return bytes;
}

uint64_t KvCache::attended_bytes(int64_t length) const {
  uint64_t bytes = 0;
  for (const LayerConfig& reader : config_->layers) {
    const Layer& own = layers_[static_cast<size_t>(reader.kv_layer)];
    const int64_t rows = reader.kind == LayerKind::kSliding ? std::min(length + 1, config_->window) : length + 1;
    bytes += static_cast<uint64_t>(2 * rows * own.row_bytes);
  }
  return bytes;
}

}  // namespace carat::gemma
