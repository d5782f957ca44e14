// Test data that is fetched, not committed (scripts/test.sh data).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace carat::testing_support {

inline std::string EnvironmentVariable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where the scripts keep what they fetched.
inline std::filesystem::path DataCache() {
  const std::string cache = EnvironmentVariable("XDG_CACHE_HOME");
  return std::filesystem::path(cache.empty() ? EnvironmentVariable("HOME") + "/.cache" : cache) / "carat";
}

// Where scripts/fetch_demo_weights.sh puts the weights of Gemma 3 270M; whether they are there is another question.
inline std::filesystem::path DemoWeights() { return DataCache() / "gemma-3-270m-q4_k_m.gguf"; }

// The same for scripts/fetch_tokenizer.sh and the vocabulary of "gemma3" or "gemma4". The folder that the script was
// given goes first.
inline std::filesystem::path FetchedTokenizer(const std::string& name) {
  const std::string folder = EnvironmentVariable("CARAT_TEST_DATA");
  return (folder.empty() ? DataCache() : std::filesystem::path(folder)) / ("tokenizer-" + name + ".json");
}

// Set by scripts/test.sh: a test whose data is missing must fail then, not be skipped.
inline bool DataIsRequired() { return !EnvironmentVariable("CARAT_REQUIRE_DATA").empty(); }

}  // namespace carat::testing_support
