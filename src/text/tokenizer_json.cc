// tokenizer.json of Hugging Face `tokenizers` -> Tokenizer. Only the kind of tokenizer that Gemma has is taken.
#include <algorithm>
#include <deque>
#include <string>

#include "base/json.h"
#include "base/try.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json_reader.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

class TokenizerFile {
 public:
  TokenizerFile(std::string_view json, std::string_view file_name)
      : reader_(json, file_name),
        file_name_(file_name),
        max_id_(static_cast<int64_t>(std::min(kMaxPieces, json.size()))) {}

  Status Read();
  Result<Tokenizer> Build(const RoleIds& roles);

 private:
  struct AddedToken {
    TokenId id = -1;
    std::string_view content;
    bool special = false;     // a control string
    bool normalized = false;  // see TokenizerSpec::late_literals
  };

  Status ReadModel();
  Status ReadModelMember(std::string_view key);
  Status ReadVocabulary();
  Status ReadMerges();
  Result<std::pair<std::string_view, std::string_view>> ReadMerge();
  Status ReadAddedTokens();
  Result<AddedToken> ReadAddedToken();
  Status CheckStep(std::string_view name, bool (*accepts)(const Json&), std::string_view expected);
  Status Place(TokenId id, std::string_view piece, PieceKind kind);

  Result<std::string_view> KeptString() {
    TRY_ASSIGN(const std::string_view text, reader_.String());
    return Keep(text);
  }
  // What the reader has just read, for as long as this object lives.
  std::string_view Keep(std::string_view text) {
    return reader_.last_string_is_copy() ? std::string_view(kept_.emplace_back(text)) : text;
  }
  std::unexpected<Error> Failure(const std::string& what) const {
    return Fail(ErrorCode::kBadModel, file_name_ + ": " + what);
  }

  JsonReader reader_;
  std::string file_name_;
  int64_t max_id_;                // every id takes some bytes of the file: bounds what a damaged one can ask for
  std::deque<std::string> kept_;  // strings with escapes
  std::vector<AddedToken> added_;
  std::vector<std::pair<std::string_view, std::string_view>> merges_;
  TokenizerSpec spec_;
  std::string unknown_piece_;
  std::vector<std::string> seen_;  // keys with a meaning
};

// The steps around the model. Spaces become U+2581 before the model, so that the pre-tokenizer that Gemma's files name,
// a split at spaces, never finds one.

bool HasType(const Json& step, std::string_view type) {
  return step.is_object() && step.contains("type") && step["type"] == type;
}

bool IsReplacement(const Json& step, std::string_view from, std::string_view to) {
  return HasType(step, "Replace") && step.contains("pattern") && step["pattern"] == Json{{"String", from}} &&
         step.contains("content") && step["content"] == to;
}

bool IsNormalizer(const Json& step) { return IsReplacement(step, " ", kSpacePiece); }

bool IsPreTokenizer(const Json& step) {
  return step.is_null() ||
         (HasType(step, "Split") && step.contains("pattern") && step["pattern"] == Json{{"String", " "}} &&
          step.contains("invert") && step["invert"] == false);
}

bool IsDecoder(const Json& step) {
  if (!HasType(step, "Sequence") || !step.contains("decoders") || !step["decoders"].is_array()) return false;
  const Json& steps = step["decoders"];
  return steps.size() == 3 && IsReplacement(steps[0], kSpacePiece, " ") && HasType(steps[1], "ByteFallback") &&
         HasType(steps[2], "Fuse");
}

// It adds BOS, which Encode leaves to its caller.
bool IsPostProcessor(const Json& step) { return step.is_null() || HasType(step, "TemplateProcessing"); }

Status TokenizerFile::CheckStep(std::string_view name, bool (*accepts)(const Json&), std::string_view expected) {
  TRY_ASSIGN(const std::string_view text, reader_.Raw());
  TRY_ASSIGN(const Json step, ParseJson(text, file_name_ + ": " + std::string(name)));
  if (accepts(step)) return {};
  std::string found = JsonText(step);
  if (found.size() > 120) found = ReplaceInvalidUtf8(found.substr(0, 120)) + "...";
  return Failure("the " + std::string(name) + " is " + found + "; " + std::string(expected) + " is supported");
}

Status TokenizerFile::Read() {
  TRY(reader_.BeginObject());
  for (std::string_view view;;) {
    TRY_ASSIGN(const bool more, reader_.NextKey(view));
    if (!more) break;
    const std::string key(view);
    static constexpr std::string_view kKnown[] = {"model",         "added_tokens", "normalizer",
                                                  "pre_tokenizer", "decoder",      "post_processor"};
    if (std::ranges::find(kKnown, key) == std::end(kKnown)) {
      TRY(reader_.Raw());  // version, and settings for training and batches
      continue;
    }
    if (std::ranges::find(seen_, key) != seen_.end()) return reader_.Failure("\"" + key + "\" is there twice");
    seen_.push_back(key);
    if (key == "model") {
      TRY(ReadModel());
    } else if (key == "added_tokens") {
      TRY(ReadAddedTokens());
    } else if (key == "normalizer") {
      TRY(CheckStep(key, IsNormalizer, "only the replacement of each space by U+2581"));
    } else if (key == "pre_tokenizer") {
      TRY(CheckStep(key, IsPreTokenizer, "only a split at spaces, or none,"));
    } else if (key == "decoder") {
      TRY(CheckStep(key, IsDecoder, "only the sequence of U+2581 to space, ByteFallback and Fuse"));
    } else {
      TRY(CheckStep(key, IsPostProcessor, "only TemplateProcessing, or none,"));
    }
  }
  TRY(reader_.End());
  for (const std::string_view key : {"model", "normalizer", "decoder"}) {
    if (std::ranges::find(seen_, key) == seen_.end()) {
      return Failure("has no \"" + std::string(key) + "\"; the tokenizer.json of a Gemma model is needed");
    }
  }
  return {};
}

Status TokenizerFile::ReadModel() {
  std::vector<std::string> keys;
  TRY(reader_.BeginObject());
  for (std::string_view view;;) {
    TRY_ASSIGN(const bool more, reader_.NextKey(view));
    if (!more) break;
    const std::string key(view);
    if (std::ranges::find(keys, key) != keys.end())
      return reader_.Failure("model." + QuotePiece(key) + " is there twice");
    keys.push_back(key);
    TRY(ReadModelMember(key));
  }
  for (const std::string_view key : {"vocab", "merges", "byte_fallback"}) {
    if (std::ranges::find(keys, key) == keys.end()) {
      return Failure("model has no \"" + std::string(key) + "\"; the BPE model of a Gemma tokenizer is needed");
    }
  }
  return {};
}

Status TokenizerFile::ReadModelMember(std::string_view key) {
  if (key == "vocab") return ReadVocabulary();
  if (key == "merges") return ReadMerges();
  TRY_ASSIGN(const std::string_view text, reader_.Raw());
  TRY_ASSIGN(const Json value, ParseJson(text, file_name_ + ": model." + QuotePiece(key)));
  const auto check = [&](bool accepted, std::string_view expected) -> Status {
    if (accepted) return {};
    return Failure("model." + std::string(key) + " is " + ReplaceInvalidUtf8(JsonText(value).substr(0, 40)) +
                   "; only " + std::string(expected) + " is supported");
  };
  if (key == "type") return check(value == "BPE", "\"BPE\"");
  if (key == "byte_fallback") return check(value == true, "true");
  if (key == "ignore_merges") return check(value.is_null() || value == false, "false");
  if (key == "dropout") return check(value.is_null() || value == 0, "none");
  if (key == "continuing_subword_prefix" || key == "end_of_word_suffix") {
    return check(value.is_null() || value == Json(""), "none");
  }
  if (key == "unk_token") {
    TRY(check(value.is_null() || value.is_string(), "a token's name"));
    if (value.is_string()) unknown_piece_ = value.get<std::string>();
  }
  return {};
}

Status TokenizerFile::Place(TokenId id, std::string_view piece, PieceKind kind) {
  const auto index = static_cast<size_t>(id);
  if (index >= spec_.pieces.size()) {
    spec_.pieces.resize(index + 1);
    spec_.kinds.resize(index + 1, PieceKind::kNormal);
  }
  if (!spec_.pieces[index].empty()) {
    return Failure("the id " + std::to_string(id) + " has two tokens, " + QuotePiece(spec_.pieces[index]) + " and " +
                   QuotePiece(piece));
  }
  spec_.pieces[index] = piece;
  spec_.kinds[index] = kind;
  return {};
}

Status TokenizerFile::ReadVocabulary() {
  TRY(reader_.BeginObject());
  for (std::string_view key;;) {
    TRY_ASSIGN(const bool more, reader_.NextKey(key));
    if (!more) return {};
    const std::string_view piece = Keep(key);
    TRY_ASSIGN(const int64_t id, reader_.Integer(0, max_id_ - 1));
    TRY(Place(static_cast<TokenId>(id), piece, PieceKind::kNormal));
  }
}

Status TokenizerFile::ReadMerges() {
  TRY(reader_.BeginArray());
  for (;;) {
    TRY_ASSIGN(const bool more, reader_.NextElement());
    if (!more) return {};
    TRY_ASSIGN(const auto merge, ReadMerge());
    merges_.push_back(merge);
  }
}

// Either ["left", "right"] or, as files were written until 2024, "left right".
Result<std::pair<std::string_view, std::string_view>> TokenizerFile::ReadMerge() {
  if (reader_.Peek() == JsonReader::Kind::kString) {
    TRY_ASSIGN(const std::string_view text, KeptString());
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) {
      return reader_.Failure("the merge " + QuotePiece(text) + " is not two pieces with a space between them");
    }
    return std::pair(text.substr(0, space), text.substr(space + 1));
  }
  std::pair<std::string_view, std::string_view> merge;
  TRY(reader_.BeginArray());
  for (std::string_view* piece : {&merge.first, &merge.second}) {
    TRY_ASSIGN(const bool more, reader_.NextElement());
    if (!more) return reader_.Failure("a merge needs two pieces");
    TRY_ASSIGN(*piece, KeptString());
  }
  TRY_ASSIGN(const bool more, reader_.NextElement());
  if (more) return reader_.Failure("a merge needs two pieces, not more");
  return merge;
}

Status TokenizerFile::ReadAddedTokens() {
  TRY(reader_.BeginArray());
  for (;;) {
    TRY_ASSIGN(const bool more, reader_.NextElement());
    if (!more) return {};
    TRY_ASSIGN(const AddedToken token, ReadAddedToken());
    added_.push_back(token);
  }
}

Result<TokenizerFile::AddedToken> TokenizerFile::ReadAddedToken() {
  AddedToken token;
  TRY(reader_.BeginObject());
  for (std::string_view view;;) {
    TRY_ASSIGN(const bool more, reader_.NextKey(view));
    if (!more) break;
    const std::string key(view);
    if (key == "id") {
      TRY_ASSIGN(const int64_t id, reader_.Integer(0, max_id_ - 1));
      token.id = static_cast<TokenId>(id);
    } else if (key == "content") {
      TRY_ASSIGN(token.content, KeptString());
    } else if (key == "special") {
      TRY_ASSIGN(token.special, reader_.Bool());
    } else if (key == "normalized") {
      TRY_ASSIGN(token.normalized, reader_.Bool());
    } else if (key == "single_word" || key == "lstrip" || key == "rstrip") {
      TRY_ASSIGN(const bool set, reader_.Bool());
      if (set) return reader_.Failure("an added token has \"" + key + "\" set, which is not supported");
    } else {
      TRY(reader_.Raw());
    }
  }
  if (token.id < 0 || token.content.empty()) return reader_.Failure("an added token needs an \"id\" and a \"content\"");
  return token;
}

Result<Tokenizer> TokenizerFile::Build(const RoleIds& roles) {
  // Added tokens either name a piece of the vocabulary or extend it.
  for (const AddedToken& token : added_) {
    const PieceKind kind = token.special ? PieceKind::kControl : PieceKind::kUserDefined;
    const auto index = static_cast<size_t>(token.id);
    if (index < spec_.pieces.size() && spec_.pieces[index] == token.content) {
      spec_.kinds[index] = kind;
    } else {
      TRY(Place(token.id, token.content, kind));
    }
    if (token.normalized) spec_.late_literals.push_back(token.id);
  }
  spec_.merges = std::move(merges_);
  spec_.roles = roles;
  if (!unknown_piece_.empty() && spec_.roles.unknown < 0) {
    const auto unknown = std::ranges::find(spec_.pieces, unknown_piece_);
    if (unknown == spec_.pieces.end()) {
      return Failure("model.unk_token is " + QuotePiece(unknown_piece_) + ", which is not in the vocabulary");
    }
    spec_.roles.unknown = static_cast<TokenId>(unknown - spec_.pieces.begin());
  }
  return Tokenizer::Create(spec_, file_name_);
}

}  // namespace

Result<Tokenizer> Tokenizer::FromJson(std::string_view json, std::string_view file_name, const RoleIds& roles) {
  TokenizerFile file(json, file_name);
  TRY(file.Read());
  return file.Build(roles);
}

}  // namespace carat::text
