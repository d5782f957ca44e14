// An amount of memory as a user writes it: refused with a message, or below 2^63.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/byte_size.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = carat::ParseByteSize({reinterpret_cast<const char*>(data), size});
  if (!bytes && (bytes.error().code != carat::ErrorCode::kUsage || bytes.error().message.empty())) std::abort();
  if (bytes && (*bytes >= uint64_t{1} << 63 || carat::MegabyteText(*bytes).empty())) std::abort();
  return 0;
}
