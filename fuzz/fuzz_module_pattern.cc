// A pattern, and behind a line end a module's name: refused, or followed in bounded time.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gemma/module_pattern.h"

using carat::gemma::ModulePattern;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.find('\n');
  const auto pattern = ModulePattern::Parse(text.substr(0, end));
  if (!pattern) {
    if (pattern.error().message.empty() || pattern.error().code != carat::ErrorCode::kBadModel) std::abort();
    return 0;
  }
  const std::string_view name = end == std::string_view::npos ? "model.language_model.layers.0" : text.substr(end + 1);
  int64_t work = 0;
  const bool begins = pattern->Begins(name, work);
  const bool finds = pattern->Finds(name, work);
  if (work > 2 * ModulePattern::kMaxWork) std::abort();
  if (begins && !finds && work <= ModulePattern::kMaxWork) std::abort();
  return 0;
}
