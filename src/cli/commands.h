// The commands of `carat`, one file each. AddX declares the command's options with the parser; if the user chose it,
// parsing sets `action` to what is to be done. Options need no care for the environment: main gives every one its
// CARAT_ twin.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "carat/result.h"
#include "cli/console.h"

namespace carat::cli {

// The status becomes the exit code (carat/result.h), and an error's message the one line on stderr.
using Action = std::function<Status(Console&)>;

void AddRun(CLI::App& app, Action& action);
void AddDescribe(CLI::App& app, Action& action);
void AddInspect(CLI::App& app, Action& action);
void AddDoctor(CLI::App& app, Action& action);
void AddTokenize(CLI::App& app, Action& action);  // tokenize and detokenize
void AddRender(CLI::App& app, Action& action);
void AddTrace(CLI::App& app, Action& action);
void AddEval(CLI::App& app, Action& action);
void AddBench(CLI::App& app, Action& action);

}  // namespace carat::cli
