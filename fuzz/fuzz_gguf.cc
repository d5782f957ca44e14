// GGUF: bytes of any kind are read or refused; of what is read, every look-up and the first row of every tensor is
// tried, and the vocabulary becomes a tokenizer or is refused.
#include <algorithm>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "engine/load_tokenizer.h"
#include "formats/gguf.h"
#include "kernels/kernels.h"

namespace carat {
namespace {

void LookAtMetadata(const formats::GgufMetadata& metadata) {
  for (const std::string_view key : metadata.keys()) {
    (void)metadata.String(key);
    (void)metadata.Integer(key, -1000, 1000);
    (void)metadata.Float(key);
    (void)metadata.Bool(key);
    (void)metadata.Strings(key);
    (void)metadata.Integers(key, 0, 1 << 30);
    (void)metadata.Floats(key);
  }
}

// The first blocks of a tensor, on every table that this CPU runs.
void Decode(std::span<const std::byte> data, quant::Type type) {
  constexpr int64_t kElements = 512;
  static std::vector<float> floats(kElements);
  if (!quant::IsWeight(type) || data.size() < *quant::RowBytes(type, kElements)) return;
  for (const kernels::Kernels* table : kernels::AllKernels())
    if (kernels::Supported(*table)) table->decode[static_cast<int>(type)](data.data(), floats.data(), kElements);
}

// The file's own strings serve as the text.
void Tokenize(const formats::GgufMetadata& metadata) {
  const auto tokenizer = TokenizerFromGguf(metadata);
  if (!tokenizer && !tokenizer.error().message.starts_with("fuzz.gguf: ")) std::abort();
  if (!tokenizer || !*tokenizer) return;
  for (const std::string_view key : metadata.keys()) {
    const auto strings = metadata.Strings(key);
    if (!strings) continue;
    for (const std::string_view text : std::span(*strings).first(std::min<size_t>(strings->size(), 100))) {
      for (const TokenId id : (*tokenizer)->Encode(text, false))
        if ((*tokenizer)->IsControl(id)) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const Result<formats::GgufFile> file = formats::ParseGguf(bytes, "fuzz.gguf");
  if (!file) {
    const std::string& message = file.error().message;
    if (file.error().code != ErrorCode::kBadModel || !message.starts_with("fuzz.gguf: ")) std::abort();
    return 0;
  }
  LookAtMetadata(file->metadata);
  Tokenize(file->metadata);
  for (const formats::GgufTensorInfo& tensor : file->tensors)
    Decode(bytes.subspan(tensor.offset, tensor.size_bytes), tensor.type);
  return 0;
}

}  // namespace carat
