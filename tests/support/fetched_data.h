// Test data that is fetched, not committed (scripts/test.sh data).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace carat::testing_support {

// Where scripts/fetch_demo_weights.sh puts the weights of Gemma 3 270M; whether they are there is another question.
inline std::filesystem::path DemoWeights() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::filesystem::path cache =
      variable("XDG_CACHE_HOME").empty() ? variable("HOME") + "/.cache" : variable("XDG_CACHE_HOME");
  return cache / "carat/gemma-3-270m-q4_k_m.gguf";
}

// Set by scripts/test.sh: a test whose data is missing must fail then, not be skipped.
inline bool DataIsRequired() {
  const char* value = std::getenv("CARAT_REQUIRE_DATA");
  return value != nullptr && *value != '\0';
}

}  // namespace carat::testing_support
