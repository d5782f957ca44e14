// Options from the environment.
#pragma once

#include <CLI/CLI.hpp>

namespace carat::cli {

// Gives every option of `app` and its commands that has a long name a twin in the environment: --max-tokens is also
// CARAT_MAX_TOKENS. The command line wins.
void AddEnvironmentTwins(CLI::App& app);

}  // namespace carat::cli
