// The vocabularies of Gemma 3 and Gemma 4, which scripts/fetch_tokenizer.sh fetches.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace carat::testing_support {

// tokenizer-NAME.json in the folder CARAT_TEST_DATA, or else where the script keeps it; whether it is there is another
// question. NAME: gemma3 or gemma4.
inline std::filesystem::path FetchedTokenizer(const std::string& name) {
  const auto variable = [](const char* variable_name) {
    const char* value = std::getenv(variable_name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string file = "tokenizer-" + name + ".json";
  if (!variable("CARAT_TEST_DATA").empty()) return std::filesystem::path(variable("CARAT_TEST_DATA")) / file;
  const std::filesystem::path cache =
      variable("XDG_CACHE_HOME").empty() ? variable("HOME") + "/.cache" : variable("XDG_CACHE_HOME");
  return cache / "carat" / file;
}

}  // namespace carat::testing_support
