// carat trace: what a model computes, activation by activation, and where that differs from a reference.
#include "engine/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/try.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "engine/trace_file.h"

namespace carat::cli {
namespace {

struct TraceFlags {
  EngineFlags engine;
  std::string input, output, reference;
  TraceOptions options;
};

// Files that the user names beside the model: that one is missing is a mistake in the command line.
Error NamedByUser(Error error) {
  if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kUsage;
  return error;
}

Result<std::vector<TokenId>> ReadIds(const std::string& path) {
  auto tensors = ReadTrace(path);
  if (!tensors) return std::unexpected(NamedByUser(tensors.error()));
  // Computed as if they were not there, a picture or a clip would be a wrong answer.
  for (const std::string_view media : {"pixel_values", "samples", "mel"}) {
    if (std::ranges::find(*tensors, media, &TraceTensor::name) != tensors->end())
      return Fail(ErrorCode::kUsage, fmt::format("{}: has '{}', but only text (input_ids) can be traced", path, media));
  }
  const auto ids = std::ranges::find(*tensors, "input_ids", &TraceTensor::name);
  if (ids == tensors->end() || ids->ids.empty())
    return Fail(ErrorCode::kUsage, fmt::format("{}: there is no 'input_ids' of type I32 or I64 with tokens", path));
  return std::move(ids->ids);
}

// One line per name; an error names the first that differs.
Status Compare(Console& console, std::span<const TraceTensor> trace, const TraceReference& reference,
               const TraceFlags& flags) {
  const std::vector<TraceDifference> differences = CompareTrace(trace, reference, flags.options.shortcut);
  if (differences.empty())
    return Fail(ErrorCode::kFailure, fmt::format("{}: has none of the traced tensors", flags.reference));
  std::string table = fmt::format("{:<12} {:>10} {:>10}  {}\n", "name", "largest", "tolerance", "where");
  for (const TraceDifference& it : differences) {
    table += fmt::format("{:<12} {:>10.3g} {:>10.3g}  {}{}\n", it.name, it.largest, it.tolerance,
                         it.largest == 0 ? "" : it.where, it.within ? "" : "  DIFFERS");
  }
  TRY(console.Write(table));
  const auto first = std::ranges::find(differences, false, &TraceDifference::within);
  if (first == differences.end()) return {};
  return Fail(ErrorCode::kFailure,
              fmt::format("{} is the first that differs from {}: by {:.3g}, tolerance {:.3g}, {}", first->name,
                          flags.reference, first->largest, first->tolerance, first->where));
}

Status Trace(Console& console, const TraceFlags& flags) {
  if (flags.output.empty() && flags.reference.empty())
    return Fail(ErrorCode::kUsage, "nothing to do with the trace; give --output FILE, --compare FILE, or both");
  TRY_ASSIGN(const std::vector<TokenId> ids, ReadIds(flags.input));
  // The reference is read before the output is written: they may be the same file.
  TraceReference reference;
  if (!flags.reference.empty()) {
    auto read = ReadTraceReference(flags.reference);
    if (!read) return std::unexpected(NamedByUser(read.error()));
    reference = std::move(*read);
    if (!reference.has_tolerances) {
      const std::string json_path = std::filesystem::path(flags.reference).replace_extension(".json").string();
      console.Note(fmt::format("carat: there are no tolerances ({} is missing): nothing may differ by a bit\n",
                               WithoutControls(json_path, /*lines=*/false)));
    }
  }
  TRY_ASSIGN(std::shared_ptr<const Engine> engine, flags.engine.Load(console));
  TraceOptions options = flags.options;
  options.progress = console.Progress();
  TRY_ASSIGN(const std::vector<TraceTensor> trace, TraceTokens(std::move(engine), ids, options));
  if (!flags.output.empty()) TRY(WriteTrace(flags.output, trace));
  return flags.reference.empty() ? Status() : Compare(console, trace, reference, flags);
}

}  // namespace

void AddTrace(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TraceFlags>();
  CLI::App* command =
      app.add_subcommand("trace", "Write every activation of a model, or compare them with a reference");
  flags->engine.AddTo(*command);
  command->add_option("INPUT", flags->input,
                      "A safetensors file with the tokens: 'input_ids', I32 or I64. MODEL may be left out before it if "
                      "CARAT_MODEL is set");
  command->add_option("-o,--output", flags->output, "The safetensors file to write");
  command->add_option("--compare", flags->reference,
                      "A reference: print the largest differences; exit code 1 beyond a tolerance. Tolerances are in "
                      "the .json beside it; without that file nothing may differ by a bit");
  command->add_option("--chunk", flags->options.chunk, "Tokens computed at a time; 0: all")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  command->add_flag("--shortcut", flags->options.shortcut,
                    "Compute what a prompt needs: in the upper layers, the last token only");
  command->add_option("--generate", flags->options.generate, "Likeliest tokens to go on with; none stops it")
      ->check(AtLeastZero())
      ->capture_default_str();
  command->callback([flags, &action] {
    // One word alone is the input.
    if (flags->input.empty()) flags->input = TakeModelFromEnvironment(flags->engine.model).value_or("");
    if (flags->input.empty()) throw CLI::RequiredError("INPUT");
    action = [flags](Console& console) { return Trace(console, *flags); };
  });
}

}  // namespace carat::cli
