#include "engine/load_tokenizer.h"

#include <algorithm>
#include <deque>
#include <string>

#include "base/mapped_file.h"
#include "base/try.h"

namespace carat {
namespace {

using formats::GgufMetadata;
using text::PieceKind;

// The control tokens that Hugging Face registers as special. The types in GGUF files cannot be trusted with this:
// llama.cpp's converter calls some of Gemma 4's user-defined to make them visible, producers of Gemma 3 files do so
// with the turn markers, and what is user-defined is found in text that a user wrote.
constexpr std::string_view kGemma4Control[] = {"<pad>",
                                               "<eos>",
                                               "<bos>",
                                               "<unk>",
                                               "<mask>",
                                               "<|tool>",
                                               "<tool|>",
                                               "<|tool_call>",
                                               "<tool_call|>",
                                               "<|tool_response>",
                                               "<tool_response|>",
                                               "<|\"|>",
                                               "<|think|>",
                                               "<|channel>",
                                               "<channel|>",
                                               "<|turn>",
                                               "<turn|>",
                                               "<|image>",
                                               "<|audio>",
                                               "<|image|>",
                                               "<|audio|>",
                                               "<image|>",
                                               "<audio|>",
                                               "<|video|>"};
constexpr std::string_view kGemma3Control[] = {"<pad>",
                                               "<eos>",
                                               "<bos>",
                                               "<unk>",
                                               "<start_of_turn>",
                                               "<end_of_turn>",
                                               "<start_of_image>",
                                               "<end_of_image>",
                                               "<image_soft_token>"};

enum class Family { kGemma3, kGemma4 };

// llama.cpp's token types.
enum GgufTokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

PieceKind KindOf(Family family, std::string_view piece, int64_t type) {
  const auto is_in = [piece](std::span<const std::string_view> list) {
    return std::ranges::find(list, piece) != list.end();
  };
  if (type == kByte) return PieceKind::kByte;
  if (type == kUnused) return PieceKind::kUnused;
  if (family == Family::kGemma4) {
    // Gemma 4 registers no user-defined tokens: HTML tags and reserved slots in a text are text.
    return type == kControl || type == kUnknown || is_in(kGemma4Control) ? PieceKind::kControl : PieceKind::kNormal;
  }
  if (is_in(kGemma3Control)) return PieceKind::kControl;
  // Gemma 3 registers the reserved slots as ordinary added tokens; converters type them as control.
  const bool is_reserved = piece.starts_with("<unused") || piece == "<mask>";
  if (type == kUserDefined || (type == kControl && is_reserved)) return PieceKind::kUserDefined;
  return type == kControl || type == kUnknown ? PieceKind::kControl : PieceKind::kNormal;
}

// The family whose scheme a GGUF file's tokenizer follows; nothing if it has none.
Result<std::optional<Family>> FindFamily(const GgufMetadata& metadata) {
  if (metadata.Find("tokenizer.ggml.model") == nullptr) return std::nullopt;
  TRY_ASSIGN(const std::string_view model, metadata.String("tokenizer.ggml.model"));
  if (model == "none" || model == "no_vocab") return std::nullopt;
  if (model == "gemma4") return Family::kGemma4;
  std::string_view pre, architecture;
  if (metadata.Find("tokenizer.ggml.pre") != nullptr) {
    TRY_ASSIGN(pre, metadata.String("tokenizer.ggml.pre"));
  }
  if (metadata.Find("general.architecture") != nullptr) {
    TRY_ASSIGN(architecture, metadata.String("general.architecture"));
  }
  // Ollama's converter writes "llama" for Gemma 4 as well.
  if (model == "llama" && (pre == "gemma4" || architecture == "gemma4")) return Family::kGemma4;
  if (model == "llama" && architecture == "gemma3") return Family::kGemma3;
  return Fail(ErrorCode::kBadModel, metadata.file_name + ": tokenizer.ggml.model is " + text::QuotePiece(model) +
                                        " in a file of the architecture " + text::QuotePiece(architecture) +
                                        "; the tokenizers of gemma4 and gemma3 are supported");
}

Result<std::vector<std::pair<std::string_view, std::string_view>>> SplitMerges(std::span<const std::string_view> lines,
                                                                               const std::string& file_name) {
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  merges.reserve(lines.size());
  for (const std::string_view line : lines) {
    const size_t space = line.find(' ');
    if (space == line.npos || space == 0 || space + 1 == line.size() || line.find(' ', space + 1) != line.npos) {
      return Fail(ErrorCode::kBadModel, file_name + ": tokenizer.ggml.merges: " + text::QuotePiece(line) +
                                            " is not two pieces with a space between them");
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

// A role that the configuration names; of several (Gemma's eos_token_id is a list) the first.
Result<TokenId> RoleFromConfig(const JsonObject& config, std::string_view key) {
  if (!config.Has(key)) return -1;
  TRY_ASSIGN(const std::vector<int64_t> ids, config.Integers(key, 0, text::kMaxPieces - 1));
  return ids.empty() ? -1 : static_cast<TokenId>(ids.front());
}

Result<std::optional<text::Tokenizer>> FromFolder(const formats::HfFolder& folder) {
  if (folder.tokenizer_json.empty()) return std::nullopt;
  TRY_ASSIGN(const MappedFile file, MappedFile::Open(folder.tokenizer_json));
  text::RoleIds roles;
  TRY_ASSIGN(roles.bos, RoleFromConfig(folder.Config(), "bos_token_id"));
  TRY_ASSIGN(roles.eos, RoleFromConfig(folder.Config(), "eos_token_id"));
  TRY_ASSIGN(roles.padding, RoleFromConfig(folder.Config(), "pad_token_id"));
  return text::Tokenizer::FromJson(file.text(), folder.tokenizer_json.string(), roles);
}

}  // namespace

Result<std::optional<text::Tokenizer>> TokenizerFromGguf(const GgufMetadata& metadata) {
  TRY_ASSIGN(const std::optional<Family> family, FindFamily(metadata));
  if (!family) return std::nullopt;
  TRY_ASSIGN(const std::vector<std::string_view> tokens, metadata.Strings("tokenizer.ggml.tokens"));
  const auto count = static_cast<int64_t>(tokens.size());
  std::vector<int64_t> types(tokens.size(), kNormal);
  if (metadata.Find("tokenizer.ggml.token_type") != nullptr) {
    TRY_ASSIGN(types, metadata.Integers("tokenizer.ggml.token_type", 0, kByte));
    if (types.size() != tokens.size()) {
      return Fail(ErrorCode::kBadModel, metadata.file_name + ": tokenizer.ggml.token_type has " +
                                            std::to_string(types.size()) + " entries for " + std::to_string(count) +
                                            " tokens");
    }
  }
  text::TokenizerSpec spec;
  spec.pieces.assign(tokens.begin(), tokens.end());
  spec.kinds.resize(tokens.size());
  std::deque<std::string> respelled;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].find(' ') != std::string_view::npos) {
      // Converters write the spaces of user-defined pieces out.
      spec.pieces[id] = respelled.emplace_back(text::WithSpacesReplaced(tokens[id]));
    }
    spec.kinds[id] = KindOf(*family, spec.pieces[id], types[id]);
  }
  for (const auto& [key, id] : {std::pair("tokenizer.ggml.bos_token_id", &spec.roles.bos),
                                {"tokenizer.ggml.eos_token_id", &spec.roles.eos},
                                {"tokenizer.ggml.unknown_token_id", &spec.roles.unknown},
                                {"tokenizer.ggml.padding_token_id", &spec.roles.padding}}) {
    TRY_ASSIGN(const int64_t value, metadata.IntegerOr(key, -1, 0, count - 1));
    *id = static_cast<TokenId>(value);
  }
  if (metadata.Find("tokenizer.ggml.merges") != nullptr) {
    TRY_ASSIGN(const std::vector<std::string_view> lines, metadata.Strings("tokenizer.ggml.merges"));
    TRY_ASSIGN(spec.merges, SplitMerges(lines, metadata.file_name));
    spec.allow_placeholder_merges = true;
  }
  return text::Tokenizer::Create(spec, metadata.file_name);
}

Result<std::optional<text::Tokenizer>> LoadTokenizer(const formats::Checkpoint& checkpoint) {
  return checkpoint.gguf() != nullptr ? TokenizerFromGguf(*checkpoint.gguf()) : FromFolder(*checkpoint.hf());
}

}  // namespace carat
