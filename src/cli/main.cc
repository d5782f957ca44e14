// The `carat` command: parses the arguments, runs one command, turns its status into an exit code.
#include <fmt/format.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <new>
#include <string>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/environment.h"

namespace carat::cli {
namespace {

int Report(Console& console, const Error& error) {
  console.Note(fmt::format("carat: {}\n", WithoutControls(error.message, false)));
  return static_cast<int>(error.code);
}

// What CLI11 says is sometimes more than one line.
Error UsageError(const CLI::ParseError& error, const std::string& command) {
  std::string message = error.what();
  while (!message.empty() && message.back() == '\n') message.pop_back();
  return Error{ErrorCode::kUsage, fmt::format("{} (see carat {}--help)", message, command)};
}

int Main(Console& console, int argc, char** argv) {
  CLI::App app("Carat runs Google's Gemma on the machine in front of you.", "carat");
  app.set_version_flag("--version", "carat " CARAT_VERSION);
  app.require_subcommand(0, 1);
  app.get_formatter()->column_width(34);

  Action action;
  AddRun(app, action);
  AddDescribe(app, action);
  AddEval(app, action);
  AddInspect(app, action);
  AddTokenize(app, action);
  AddRender(app, action);
  AddDoctor(app, action);
  AddTrace(app, action);
  AddBench(app, action);
  AddEnvironmentTwins(app);

  std::string chosen;
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    std::string text;
    if (dynamic_cast<const CLI::CallForVersion*>(&request) != nullptr) {
      text = std::string(request.what()) + "\n";
    } else {
      text = app.help();
      for (const CLI::App* command : app.get_subcommands()) text = command->help("carat");
    }
    const Status written = console.Write(text);
    return written ? 0 : Report(console, written.error());
  } catch (const CLI::ParseError& error) {
    for (const CLI::App* command : app.get_subcommands()) chosen = command->get_name() + " ";
    return Report(console, UsageError(error, chosen));
  }
  if (!action) {
    console.Note(app.help());
    return static_cast<int>(ErrorCode::kUsage);
  }
  const Status status = action(console);
  return status ? 0 : Report(console, status.error());
}

}  // namespace
}  // namespace carat::cli

int main(int argc, char** argv) {
  // Memory of this size goes back to the system when it is freed. By itself the allocator learns to keep ever larger
  // pieces, and --ram would pay for what loading a tokenizer took.
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  carat::cli::Console console;
  try {
    return carat::cli::Main(console, argc, argv);
  } catch (const std::bad_alloc&) {
    return carat::cli::Report(console, {carat::ErrorCode::kDoesNotFit, "out of memory"});
  } catch (const std::exception& error) {
    return carat::cli::Report(console, {carat::ErrorCode::kFailure, error.what()});
  }
}
