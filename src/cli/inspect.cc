// carat inspect: what is in a checkpoint, and what becomes of it.
#include "engine/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/try.h"
#include "cli/commands.h"
#include "cli/inspect_text.h"
#include "gemma/census.h"
#include "text/chat_ids.h"

namespace carat::cli {
namespace {

struct InspectFlags {
  std::string model;
  bool json = false;
  bool tensors = false;
};

// The report, part by part

std::string_view NameOf(TensorUse use) {
  switch (use) {
    case TensorUse::kDecoder:
      return "decoder";
    case TensorUse::kPleTable:
      return "per_layer_embeddings";
    case TensorUse::kEmbedding:
      return "embedding";
    case TensorUse::kVision:
      return "vision";
    case TensorUse::kAudio:
      return "audio";
    case TensorUse::kIdle:
      return "idle";
  }
  return "";
}

// A float as the file's author wrote it: 0.95, not 0.949999988079071.
Json Short(float value) { return std::stod(fmt::format("{}", value)); }

std::string ArchitectureOf(const Inspection& inspection) {
  if (inspection.model) return inspection.model->config.architecture;
  const formats::GgufMetadata* gguf = inspection.checkpoint.gguf();
  if (gguf != nullptr) return std::string(gguf->String("general.architecture").value_or("unknown"));
  return inspection.checkpoint.hf()->Config().StringOr("model_type", "unknown").value_or("unknown");
}

Json Files(const formats::Checkpoint& checkpoint) {
  Json files = Json::array();
  for (const MappedFile& file : checkpoint.files()) {
    files.push_back({{"path", file.path().string()}, {"bytes", file.bytes().size()}});
  }
  return files;
}

// 16-bit keys and values of one token, in the layers of a kind that own some.
int64_t KvBytes(const gemma::DecoderConfig& config, gemma::LayerKind kind) {
  int64_t bytes = 0;
  for (int i = 0; i < config.layer_count(); ++i) {
    const gemma::LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    if (layer.kind == kind && config.OwnsKv(i)) bytes += 2 * 2 * layer.kv_heads * layer.head_dim;
  }
  return bytes;
}

Json Decoder(const gemma::Model& model) {
  const gemma::DecoderConfig& config = model.config;
  Json layers = Json::array();
  for (const gemma::LayerConfig& layer : config.layers) {
    layers.push_back({{"attention", layer.kind == gemma::LayerKind::kSliding ? "sliding" : "global"},
                      {"kv_heads", layer.kv_heads},
                      {"head_size", layer.head_dim},
                      {"mlp", layer.ff_width},
                      {"kv_layer", layer.kv_layer}});
  }
  Json decoder;
  decoder["hidden"] = config.hidden;
  decoder["vocabulary"] = config.vocabulary;
  decoder["max_positions"] = config.max_positions;
  decoder["window"] = config.window;
  decoder["query_heads"] = config.query_heads;
  decoder["norm_epsilon"] = Short(config.norm_epsilon);
  decoder["logit_soft_cap"] = Short(config.logit_soft_cap);
  decoder["ple_width"] = config.ple_width;
  decoder["ple_row_bytes"] = config.ple_width > 0 ? model.ple_table.row_bytes() : 0;
  decoder["kv_bytes_per_token_global"] = KvBytes(config, gemma::LayerKind::kGlobal);
  decoder["kv_bytes_per_token_sliding"] = KvBytes(config, gemma::LayerKind::kSliding);
  decoder["layers"] = std::move(layers);
  return decoder;
}

struct Sum {
  size_t tensors = 0;
  uint64_t elements = 0, bytes = 0;

  void Add(const formats::Tensor& tensor) {
    ++tensors;
    elements += std::accumulate(tensor.shape.begin(), tensor.shape.end(), uint64_t{1}, std::multiplies<>());
    bytes += tensor.data.size();
  }
  Json ToJson(const char* key, std::string_view name) const {
    return {{key, name}, {"tensors", tensors}, {"elements", elements}, {"bytes", bytes}};
  }
};

// The matrices by role: at how many bits, in which layers, and what a token reads of them.
void AddWeights(const Inspection& inspection, Json& report) {
  report["weights"] = Json::array();
  uint64_t token_bytes = 0;
  std::vector<gemma::WeightShare> shares = gemma::TakeCensus(*inspection.model);
  shares.insert(shares.end(), inspection.towers.begin(), inspection.towers.end());
  for (const gemma::WeightShare& share : shares) {
    report["weights"].push_back({{"role", share.role},
                                 {"type", quant::Info(share.type).name},
                                 {"layers", share.layers},
                                 {"elements", share.elements},
                                 {"bytes", share.bytes},
                                 {"token_bytes", share.token_bytes}});
    token_bytes += share.token_bytes;
  }
  report["token_bytes"] = token_bytes;
}

void AddSums(const Inspection& inspection, Json& report) {
  const std::span<const formats::Tensor> tensors = inspection.checkpoint.tensors();
  std::map<TensorUse, Sum> uses;
  std::map<std::string_view, Sum> types;
  for (size_t i = 0; i < tensors.size(); ++i) {
    uses[inspection.uses[i]].Add(tensors[i]);
    types[quant::Info(tensors[i].type).name].Add(tensors[i]);
  }
  report["uses"] = Json::array();
  if (inspection.model) {
    for (const auto& [use, sum] : uses) report["uses"].push_back(sum.ToJson("use", NameOf(use)));
  }
  std::vector<std::pair<std::string_view, Sum>> by_size(types.begin(), types.end());
  // Largest first; of the same size, by name.
  std::ranges::sort(by_size, [](const auto& a, const auto& b) {
    return std::pair(b.second.bytes, a.first) < std::pair(a.second.bytes, b.first);
  });
  if (inspection.model) AddWeights(inspection, report);
  report["types"] = Json::array();
  for (const auto& [type, sum] : by_size) report["types"].push_back(sum.ToJson("type", type));
}

Json Vocabulary(const text::Tokenizer& tokenizer) {
  constexpr size_t kMaxListed = 1000;  // some files call all reserved slots control tokens
  Json control = Json::array();
  for (TokenId id = 0; id < tokenizer.size() && control.size() < kMaxListed; ++id) {
    if (tokenizer.IsControl(id)) control.push_back({{"id", id}, {"piece", tokenizer.Piece(id)}});
  }
  return {{"size", tokenizer.size()},       {"bos", tokenizer.bos()},         {"eos", tokenizer.eos()},
          {"unknown", tokenizer.unknown()}, {"padding", tokenizer.padding()}, {"control", std::move(control)}};
}

void AddText(const Inspection& inspection, Json& report) {
  report["tokenizer"] = nullptr;
  report["chat_format"] = nullptr;
  if (inspection.tokenizer && *inspection.tokenizer) {
    const text::Tokenizer& tokenizer = **inspection.tokenizer;
    report["tokenizer"] = Vocabulary(tokenizer);
    if (const auto format = text::ChatFormatOf(tokenizer))
      report["chat_format"] = *format == text::ChatFormat::kGemma4 ? "gemma4" : "gemma3";
  }
  if (!inspection.defaults) return;
  const SamplingOptions& sampling = inspection.defaults->sampling;
  report["sampling"] = {{"temperature", Short(sampling.temperature)},
                        {"top_k", sampling.top_k},
                        {"top_p", Short(sampling.top_p)},
                        {"min_p", Short(sampling.min_p)}};
  report["stop_ids"] = inspection.defaults->stop_ids;
}

// In the order in which they lie in the files.
Json Tensors(const Inspection& inspection) {
  const std::span<const formats::Tensor> tensors = inspection.checkpoint.tensors();
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return std::pair(tensors[i].file, tensors[i].file_offset); });
  Json list = Json::array();
  for (const size_t i : order) {
    list.push_back({{"name", tensors[i].name},
                    {"type", quant::Info(tensors[i].type).name},
                    {"shape", tensors[i].shape},
                    {"bytes", tensors[i].data.size()},
                    {"file", tensors[i].file},
                    {"offset", tensors[i].file_offset},
                    {"use", inspection.model ? NameOf(inspection.uses[i]) : "unknown"}});
  }
  return list;
}

Json Report(const Inspection& inspection, bool tensors) {
  const formats::Checkpoint& checkpoint = inspection.checkpoint;
  Json report;
  report["name"] = checkpoint.name();
  report["path"] = checkpoint.path().string();
  report["container"] =
      checkpoint.gguf() != nullptr ? fmt::format("GGUF v{}", checkpoint.gguf()->version) : "Hugging Face folder";
  report["files"] = Files(checkpoint);
  report["architecture"] = ArchitectureOf(inspection);
  report["decoder"] = inspection.model ? Decoder(*inspection.model) : Json();
  AddSums(inspection, report);
  AddText(inspection, report);
  if (tensors) report["tensors"] = Tensors(inspection);
  return report;
}

Status Run(Console& console, const InspectFlags& flags) {
  TRY_ASSIGN(const Inspection inspection, Inspect(flags.model));
  const Json report = Report(inspection, flags.tensors);
  TRY(console.WriteUntrusted(flags.json ? JsonText(report, 2) + "\n" : InspectText(report)));
  // What was wrong goes last, where it is seen.
  if (!inspection.model) return std::unexpected(inspection.model.error());
  if (!inspection.tokenizer) return std::unexpected(inspection.tokenizer.error());
  if (!inspection.defaults) return std::unexpected(inspection.defaults.error());
  return {};
}

}  // namespace

void AddInspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand("inspect", "What is in a model file");
  command->add_option("MODEL", flags->model, "A .gguf file (the first of a split set) or a Hugging Face folder")
      ->required()
      ->envname("CARAT_MODEL");
  command->add_flag("--json", flags->json, "Print JSON");
  command->add_flag("--tensors", flags->tensors, "List every tensor");
  command->callback([flags, &action] { action = [flags](Console& console) { return Run(console, *flags); }; });
}

}  // namespace carat::cli
