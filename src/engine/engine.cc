#include "carat/engine.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "base/mapped_file.h"
#include "base/process_memory.h"
#include "base/resident.h"
#include "base/try.h"
#include "engine/defaults.h"
#include "engine/engine_impl.h"
#include "engine/load_tokenizer.h"
#include "gemma/census.h"
#include "text/chat_ids.h"

namespace carat {

namespace {

Result<const kernels::Kernels*> ChooseKernels(const std::string& name) {
  const kernels::Kernels* chosen = kernels::SelectKernels(name);
  if (chosen != nullptr) return chosen;
  std::string usable;
  for (const kernels::Kernels* table : kernels::AllKernels())
    if (kernels::Supported(*table)) usable += (usable.empty() ? "" : ", ") + std::string(table->name);
  return Fail(ErrorCode::kUsage, "there are no kernels called '" + name + "' for this CPU; there are: " + usable);
}

bool HasChatTemplate(const formats::Checkpoint& checkpoint) {
  if (checkpoint.gguf() != nullptr) return checkpoint.gguf()->Find("tokenizer.chat_template") != nullptr;
  const std::filesystem::path& folder = checkpoint.hf()->path;
  std::error_code error;
  if (std::filesystem::exists(folder / "chat_template.jinja", error)) return true;
  // Where it stood until 2025.
  const auto config = MappedFile::Open(folder / "tokenizer_config.json");
  if (!config) return false;
  return config->text().find("\"chat_template\"") != std::string_view::npos;
}

Result<ModelInfo> Describe(const Engine::Impl& impl) {
  const gemma::DecoderConfig& config = impl.model.config;
  const text::Tokenizer* tokenizer = impl.tokenizer ? &*impl.tokenizer : nullptr;
  TRY_ASSIGN(GenerationDefaults defaults, ReadGenerationDefaults(impl.checkpoint, config.vocabulary, tokenizer));
  ModelInfo info;
  info.architecture = config.architecture;
  info.name = impl.checkpoint.name();
  info.path = impl.checkpoint.path();
  info.layers = config.layer_count();
  info.hidden = static_cast<int>(config.hidden);
  info.vocabulary = static_cast<int>(config.vocabulary);
  info.max_positions = static_cast<int>(config.max_positions);
  info.has_tokenizer = tokenizer != nullptr;
  info.sampling = defaults.sampling;
  info.stop_ids = std::move(defaults.stop_ids);
  for (const gemma::WeightShare& share : gemma::TakeCensus(impl.model)) {
    if (!share.rows) info.weight_bytes += share.bytes;
    info.token_bytes += share.token_bytes;
  }
  info.ple_bytes = config.ple_width > 0 ? impl.model.ple_table.size_bytes() : 0;
  info.has_chat_format = tokenizer != nullptr && text::ChatFormatOf(*tokenizer).has_value();
  info.has_chat_template = HasChatTemplate(impl.checkpoint);
  info.sees = impl.images != nullptr;
  TRY_ASSIGN(info.media, ReadMediaDefaults(impl.checkpoint));
  return info;
}

// Null if there is none. Towers are looked at when they are needed.
Result<std::unique_ptr<ImageEncoder>> FindTower(const Engine::Impl& impl) {
  const bool folder = impl.checkpoint.hf() != nullptr;
  std::filesystem::path mmproj = impl.options.mmproj;
  if (mmproj.empty() && !folder) {
    const auto beside = MmprojFilesBeside(impl.checkpoint.path());
    if (beside.size() == 1) mmproj = beside.front();
  }
  if (mmproj.empty() && !(folder && gemma::VisionModel::IsIn(impl.checkpoint))) return nullptr;
  std::error_code error;
  if (!mmproj.empty() && !std::filesystem::exists(mmproj, error))
    return Fail(ErrorCode::kNotFound, mmproj.string() + ": no such file; --mmproj names the model's mmproj file");
  return std::make_unique<ImageEncoder>(impl.context, impl.checkpoint, mmproj, impl.model.config.hidden);
}

}  // namespace

MediaOptions Engine::Impl::Complete(MediaOptions media) const {
  const MediaOptions& usual = info.media;
  if (media.image_tokens == 0) media.image_tokens = usual.image_tokens;
  if (media.frame_tokens == 0) media.frame_tokens = usual.frame_tokens;
  if (media.video_frames == 0) media.video_frames = usual.video_frames;
  return media;
}

Status Engine::Impl::CheckSees() const {
  if (images != nullptr) return {};
  std::string why = "its folder has no vision tower; that of Gemma 4 E2B or E4B would work";
  if (checkpoint.hf() == nullptr) {
    why.clear();
    for (const std::filesystem::path& file : MmprojFilesBeside(checkpoint.path()))
      why += (why.empty() ? "" : ", ") + file.filename().string();
    why =
        (why.empty() ? "there is no mmproj file beside it" : "there are several mmproj files beside it (" + why + ")") +
        "; --mmproj FILE names one";
  }
  return Fail(ErrorCode::kUsage, info.path.string() + ": the model does not see: " + why);
}

Result<std::shared_ptr<const Engine>> Engine::Load(const std::filesystem::path& model, const EngineOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.threads < 0 || options.threads > 1024)
    return Fail(ErrorCode::kUsage,
                std::to_string(options.threads) + " threads; 0 (one per processor) to 1024 would work");
  const auto report = [&](uint64_t done) {
    return !options.progress || options.progress({.stage = "load", .done = done, .total = 3});
  };
  const auto interrupted = [&] { return Fail(ErrorCode::kInterrupted, model.string() + ": loading was interrupted"); };

  auto impl = std::make_unique<Impl>();
  impl->options = options;
  TRY_ASSIGN(impl->context.kernels, ChooseKernels(options.cpu));
  if (!report(0)) return interrupted();
  TRY_ASSIGN(impl->checkpoint, formats::Checkpoint::Open(model));
  if (!report(1)) return interrupted();
  TRY_ASSIGN(impl->model, gemma::Model::Load(impl->checkpoint));
  if (!report(2)) return interrupted();
  TRY_ASSIGN(impl->tokenizer, LoadTokenizer(impl->checkpoint));
  if (impl->tokenizer && impl->tokenizer->size() > impl->model.config.vocabulary)
    return Fail(ErrorCode::kBadModel, model.string() + ": the tokenizer has " +
                                          std::to_string(impl->tokenizer->size()) + " pieces, but the model only " +
                                          std::to_string(impl->model.config.vocabulary) + " tokens");
  impl->pool = std::make_unique<ThreadPool>(options.threads);
  impl->context.pool = impl->pool.get();
  impl->context.exact = options.exact;
  if (!options.exact && !options.in_place) {
    // Without room for copies the file is as good a place.
    auto copies = ops::InterleavedWeights::Create(*impl->context.kernels, impl->model.Products());
    if (copies) impl->copies = *std::move(copies);
    if (impl->model.HeadIsEmbedding()) impl->model.embedding.copy = impl->model.head.copy;
  }
  TRY_ASSIGN(impl->images, FindTower(*impl));
  TRY_ASSIGN(impl->info, Describe(*impl));
  impl->weight_pages = WeightPages(impl->model);
  KeepOnly(impl->weight_pages, impl->checkpoint.files());
  ReturnFreedMemory();  // what reading the tokenizer took
  impl->load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!report(3)) return interrupted();
  return std::make_shared<const Engine>(std::move(impl));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

const ModelInfo& Engine::info() const { return impl_->info; }

EngineStats Engine::stats() const {
  const gemma::PleTable& table = impl_->model.ple_table;
  EngineStats stats = {.load_seconds = impl_->load_seconds, .ple_bytes_read = table.bytes_read()};
  for (const MappedFile& file : impl_->checkpoint.files())
    stats.weight_bytes_resident += ResidentBytes(file.bytes().data(), file.bytes().size());
  const ops::Matrix& matrix = table.matrix();
  stats.ple_bytes_resident =
      ResidentBytes(matrix.data, static_cast<size_t>(matrix.rows * matrix.row_bytes)) +
      ResidentBytes(matrix.scales.data, static_cast<size_t>(matrix.rows * matrix.scales.row_bytes));
  stats.weight_bytes_resident -= std::min(stats.weight_bytes_resident, stats.ple_bytes_resident);
  stats.weight_bytes_resident += impl_->copies.resident_bytes();
  return stats;
}

EngineCopies Engine::copies() const {
  return {.bytes = impl_->copies.size_bytes(), .copied_bytes = impl_->copies.filled_bytes()};
}

std::string_view Engine::cpu() const { return impl_->context.kernels->name; }
int Engine::threads() const { return impl_->pool->size(); }

Result<std::vector<TokenId>> Engine::Tokenize(std::string_view text, bool control) const {
  if (!impl_->tokenizer)
    return Fail(ErrorCode::kUsage, impl_->info.path.string() + ": the checkpoint has no tokenizer; give token ids");
  return impl_->tokenizer->Encode(text, control);
}

Result<std::string> Engine::Detokenize(std::span<const TokenId> ids, bool control) const {
  if (!impl_->tokenizer)
    return Fail(ErrorCode::kUsage, impl_->info.path.string() + ": the checkpoint has no tokenizer");
  for (const TokenId id : ids)
    if (id < 0 || id >= impl_->tokenizer->size())
      return Fail(ErrorCode::kUsage, "the token id " + std::to_string(id) + " is outside of the vocabulary of " +
                                         std::to_string(impl_->tokenizer->size()));
  return impl_->tokenizer->Decode(ids, control);
}

TokenId Engine::bos_id() const { return impl_->tokenizer ? impl_->tokenizer->bos() : -1; }

bool Engine::IsStop(TokenId id) const { return std::ranges::binary_search(impl_->info.stop_ids, id); }

}  // namespace carat
