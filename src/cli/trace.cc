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
  std::vector<std::string> images, videos;
  std::string prompt;
  MediaOptions media;
  TraceOptions options;
};

// Files that the user names beside the model: that one is missing is a mistake in the command line.
Error NamedByUser(Error error) {
  if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kUsage;
  return error;
}

const TraceTensor* Find(const std::vector<TraceTensor>& tensors, std::string_view name) {
  const auto found = std::ranges::find(tensors, name, &TraceTensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

// The pictures of a dump: 'pixel_values', or 'pixel_bytes' as the processor scales them, and 'position_ids'.
Status ReadPictures(const std::vector<TraceTensor>& tensors, const std::string& path, TraceInput& input) {
  const TraceTensor *values = Find(tensors, "pixel_values"), *bytes = Find(tensors, "pixel_bytes");
  const TraceTensor* positions = Find(tensors, "position_ids");
  if (values == nullptr && bytes == nullptr) return {};
  if (positions == nullptr || positions->ids.empty())
    return Fail(ErrorCode::kUsage, fmt::format("{}: there is no 'position_ids' to its pixels", path));
  std::vector<float> scaled;
  if (values == nullptr)
    for (const float byte : bytes->values) scaled.push_back(byte * (1.0f / 255.0f));
  auto pictures = PicturesOf(values != nullptr ? values->values : scaled, positions->ids);
  if (!pictures) return Fail(pictures.error().code, fmt::format("{}: {}", path, pictures.error().message));
  input.pictures = *std::move(pictures);
  return {};
}

Result<TraceInput> ReadTraceInput(const std::string& path) {
  auto tensors = ReadTrace(path);
  if (!tensors) return std::unexpected(NamedByUser(tensors.error()));
  TraceInput input;
  TRY(ReadPictures(*tensors, path, input));
  const TraceTensor* ids = Find(*tensors, "input_ids");
  // Computed as if it were not there, a clip would be a wrong answer.
  for (const std::string_view media : {"samples", "mel"}) {
    if (Find(*tensors, media) != nullptr && (ids != nullptr || input.pictures.empty()))
      return Fail(ErrorCode::kUsage,
                  fmt::format("{}: has '{}', but only text and pictures can be traced", path, media));
  }
  if (ids != nullptr) input.ids = ids->ids;
  if (input.ids.empty() && input.pictures.empty())
    return Fail(ErrorCode::kUsage, fmt::format("{}: there is no 'input_ids' of type I32 or I64 with tokens", path));
  const TraceTensor* types = Find(*tensors, "mm_token_type_ids");  // 0: text
  if (input.pictures.empty() || types == nullptr) return input;
  if (types->ids.size() != input.ids.size())
    return Fail(ErrorCode::kUsage, fmt::format("{}: 'mm_token_type_ids' has {} numbers for {} tokens", path,
                                               types->ids.size(), input.ids.size()));
  for (size_t i = 0; i < types->ids.size(); ++i)
    if (types->ids[i] != 0) input.soft.push_back(static_cast<int64_t>(i));
  return input;
}

bool HasMedia(const TraceFlags& flags) { return !flags.images.empty() || !flags.videos.empty(); }

// The prompt with its media, pictures first.
Result<TraceInput> PromptInput(const Engine& engine, const TraceFlags& flags) {
  std::vector<Medium> media;
  for (const std::string& image : flags.images) media.push_back({.kind = Medium::Kind::kImage, .path = image});
  for (const std::string& video : flags.videos) media.push_back({.kind = Medium::Kind::kVideo, .path = video});
  return TraceInputOf(engine, flags.prompt, media, flags.media);
}

// One line per name; an error names the first that differs.
Status Compare(Console& console, std::span<const TraceTensor> trace, const TraceReference& reference,
               const TraceFlags& flags) {
  const std::vector<TraceDifference> differences = CompareTrace(trace, reference, flags.options.shortcut);
  if (differences.empty())
    return Fail(ErrorCode::kFailure, fmt::format("{}: has none of the traced tensors", flags.reference));
  std::string table = fmt::format("{:<18} {:>10} {:>10}  {}\n", "name", "largest", "tolerance", "where");
  for (const TraceDifference& it : differences) {
    table += fmt::format("{:<18} {:>10.3g} {:>10.3g}  {}{}\n", it.name, it.largest, it.tolerance,
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
  TraceInput input;
  if (!HasMedia(flags)) {
    TRY_ASSIGN(input, ReadTraceInput(flags.input));
  }
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
  if (HasMedia(flags)) {
    TRY_ASSIGN(input, PromptInput(*engine, flags));
  }
  TraceOptions options = flags.options;
  options.progress = console.Progress();
  TRY_ASSIGN(const std::vector<TraceTensor> trace, carat::Trace(std::move(engine), input, options));
  if (!flags.output.empty()) TRY(WriteTrace(flags.output, trace));
  return flags.reference.empty() ? Status() : Compare(console, trace, reference, flags);
}

}  // namespace

void AddTrace(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TraceFlags>();
  CLI::App* command =
      app.add_subcommand("trace", "Write every activation of a model, or compare them with a reference");
  flags->engine.AddTo(*command);
  command->add_option(
      "INPUT", flags->input,
      "A safetensors file with the tokens: 'input_ids', I32 or I64; or with pictures, 'pixel_values' or "
      "'pixel_bytes' and 'position_ids', or with both and 'mm_token_type_ids'. MODEL may be left out "
      "before it if CARAT_MODEL is set");
  CLI::Option* image = command->add_option("--image", flags->images, "Instead of INPUT: a picture before --prompt");
  CLI::Option* video = command->add_option("--video", flags->videos, "Instead of INPUT: a video before --prompt");
  for (CLI::Option* file : {image, video}) file->type_name("FILE")->allow_extra_args(false);
  command->add_option("--prompt", flags->prompt, "What a user asks about --image and --video");
  AddMediaOptions(*command, flags->media);
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
    if (HasMedia(*flags)) {
      if (!flags->input.empty()) throw CLI::ExcludesError("INPUT", "--image and --video");
      action = [flags](Console& console) { return Trace(console, *flags); };
      return;
    }
    // One word alone is the input.
    if (flags->input.empty()) flags->input = TakeModelFromEnvironment(flags->engine.model).value_or("");
    if (flags->input.empty()) throw CLI::RequiredError("INPUT");
    action = [flags](Console& console) { return Trace(console, *flags); };
  });
}

}  // namespace carat::cli
