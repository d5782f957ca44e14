// safetensors: bytes of any kind are read or refused; tensors that are read lie in the file.
#include <cstdlib>

#include "formats/safetensors.h"

namespace carat {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto entries = formats::ParseSafetensors(std::as_bytes(std::span(data, size)), "fuzz.safetensors");
  if (!entries) {
    if (entries.error().code != ErrorCode::kBadModel || !entries.error().message.starts_with("fuzz.safetensors: "))
      std::abort();
    return 0;
  }
  for (const formats::SafetensorsEntry& entry : *entries) {
    if (entry.offset > size || entry.size_bytes > size - entry.offset) std::abort();
    if (entry.size_bytes > 0 && data[entry.offset] == 0 && data[entry.offset + entry.size_bytes - 1] == 1) continue;
  }
  return 0;
}

}  // namespace carat
