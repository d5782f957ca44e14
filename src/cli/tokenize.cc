// carat tokenize, carat detokenize: text to token ids and back. Neither needs weights.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/try.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/options.h"
#include "engine/text_model.h"

namespace carat::cli {
namespace {

struct TokenizeFlags {
  std::string model;
  std::optional<std::string> text;  // none: stdin
  std::vector<std::string> ids;     // none: stdin
  bool special = false;
  bool jsonl = false;

  void AddTo(CLI::App& command) {
    command.add_option("MODEL", model, "A folder with a tokenizer.json, or a .gguf file; no weights are needed")
        ->required()
        ->envname("CARAT_MODEL");
  }
};

Result<Json> TokenizeLine(const text::Tokenizer& tokenizer, bool special, const Json& question) {
  const auto text = question.find("text");
  if (text == question.end() || !text->is_string()) return Fail(ErrorCode::kUsage, "the line has no text \"text\"");
  return Json{{"ids", tokenizer.Encode(text->get_ref<const std::string&>(), special)}};
}

Status Tokenize(Console& console, TokenizeFlags flags) {
  if (!flags.text && !LooksLikeModel(flags.model)) flags.text = TakeModelFromEnvironment(flags.model);
  if (flags.jsonl && flags.text) return Fail(ErrorCode::kUsage, "--jsonl reads stdin; leave out the TEXT");
  TRY_ASSIGN(const TextModel model, LoadTextModel(flags.model));
  if (flags.jsonl) {
    return AnswerLines(console, [&](const Json& line) { return TokenizeLine(model.tokenizer, flags.special, line); });
  }
  std::string text;
  if (flags.text) {
    text = *flags.text;
  } else {
    TRY_ASSIGN(text, console.ReadAll());
  }
  return console.Write(fmt::format("{}\n", fmt::join(model.tokenizer.Encode(text, flags.special), " ")));
}

Status CheckId(const text::Tokenizer& tokenizer, int64_t id) {
  if (id >= 0 && id < tokenizer.size()) return {};
  return Fail(ErrorCode::kUsage,
              fmt::format("the id {} is outside of the vocabulary, which ends with {}", id, tokenizer.size() - 1));
}

Result<Json> DetokenizeLine(const text::Tokenizer& tokenizer, bool special, const Json& question) {
  const auto list = question.find("ids");
  if (list == question.end() || !list->is_array()) return Fail(ErrorCode::kUsage, "the line has no list \"ids\"");
  std::vector<TokenId> ids;
  for (const Json& element : *list) {
    if (!element.is_number_integer()) return Fail(ErrorCode::kUsage, "an element of \"ids\" is not a token id");
    const bool huge = element.is_number_unsigned() && element.get<uint64_t>() > INT32_MAX;
    TRY(CheckId(tokenizer, huge ? INT32_MAX : element.get<int64_t>()));
    ids.push_back(element.get<TokenId>());
  }
  return Json{{"text", tokenizer.Decode(ids, special)}};
}

// Numbers with anything between them that JSON and shells put there: "2 105", "[2, 105]".
Result<std::vector<TokenId>> ReadIds(const text::Tokenizer& tokenizer, std::string_view text) {
  constexpr std::string_view kBetween = " \t\r\n,[]";
  std::vector<TokenId> ids;
  for (size_t at = 0; (at = text.find_first_not_of(kBetween, at)) != text.npos;) {
    const std::string_view word = text.substr(at, text.find_first_of(kBetween, at) - at);
    int64_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size()) {
      return Fail(ErrorCode::kUsage, fmt::format("'{}' is not a token id", word.substr(0, 40)));
    }
    TRY(CheckId(tokenizer, id));
    ids.push_back(static_cast<TokenId>(id));
    at += word.size();
  }
  return ids;
}

Status Detokenize(Console& console, TokenizeFlags flags) {
  if (!LooksLikeModel(flags.model)) {
    if (auto id = TakeModelFromEnvironment(flags.model)) flags.ids.insert(flags.ids.begin(), *id);
  }
  if (flags.jsonl && !flags.ids.empty()) return Fail(ErrorCode::kUsage, "--jsonl reads stdin; leave out the IDS");
  TRY_ASSIGN(const TextModel model, LoadTextModel(flags.model));
  if (flags.jsonl) {
    return AnswerLines(console, [&](const Json& line) { return DetokenizeLine(model.tokenizer, flags.special, line); });
  }
  std::string text = fmt::format("{}", fmt::join(flags.ids, " "));
  if (flags.ids.empty()) {
    TRY_ASSIGN(text, console.ReadAll());
  }
  TRY_ASSIGN(const std::vector<TokenId> ids, ReadIds(model.tokenizer, text));
  return console.WriteUntrusted(model.tokenizer.Decode(ids, flags.special) + "\n");
}

}  // namespace

void AddTokenize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* tokenize = app.add_subcommand("tokenize", "Text to token ids");
  flags->AddTo(*tokenize);
  tokenize->add_option("TEXT", flags->text,
                       "The text; without it, all of stdin. MODEL may be left out if CARAT_MODEL is set");
  tokenize->add_flag("--special", flags->special, "Let control strings such as <bos> become their tokens");
  tokenize->add_flag("--jsonl", flags->jsonl, R"(For every line {"text": ...} of stdin, a line {"ids": [...]})");
  tokenize->callback([flags, &action] { action = [flags](Console& console) { return Tokenize(console, *flags); }; });

  auto back = std::make_shared<TokenizeFlags>();
  CLI::App* detokenize = app.add_subcommand("detokenize", "Token ids to text");
  back->AddTo(*detokenize);
  detokenize->add_option("IDS", back->ids,
                         "The ids; without them, all of stdin. MODEL may be left out if CARAT_MODEL is set");
  detokenize->add_flag("--special", back->special, "Show control tokens as their strings; else they are left out");
  detokenize->add_flag("--jsonl", back->jsonl, R"(For every line {"ids": [...]} of stdin, a line {"text": ...})");
  detokenize->callback([back, &action] { action = [back](Console& console) { return Detokenize(console, *back); }; });
}

}  // namespace carat::cli
