// carat render: a conversation as the model gets to see it. Needs no weights.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/try.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "engine/text_model.h"
#include "text/chat_ids.h"
#include "text/chat_json.h"

namespace carat::cli {
namespace {

struct RenderFlags {
  std::string model;
  bool jsonl = false;
};

Status ReadOptions(const Json& options, text::ChatRequest& request) {
  if (!options.is_object()) return Fail(ErrorCode::kUsage, "\"options\" is not an object");
  for (const auto& [key, value] : options.items()) {
    bool* option = key == "add_generation_prompt" ? &request.add_generation_prompt
                   : key == "enable_thinking"     ? &request.enable_thinking
                   : key == "preserve_thinking"   ? &request.preserve_thinking
                                                  : nullptr;
    if (option == nullptr) {
      return Fail(ErrorCode::kUsage, fmt::format("unknown option \"{}\"; there are add_generation_prompt, "
                                                 "enable_thinking and preserve_thinking",
                                                 key));
    }
    if (!value.is_boolean()) return Fail(ErrorCode::kUsage, fmt::format("the option \"{}\" is not true or false", key));
    *option = value.get<bool>();
  }
  return {};
}

// {messages, tools, options}; what else is in it does not count.
Result<text::ChatRequest> ReadRequest(const Json& conversation) {
  text::ChatRequest request;
  request.add_generation_prompt = false;
  if (conversation.contains("messages")) request.messages = &conversation["messages"];
  if (conversation.contains("tools") && !conversation["tools"].is_null()) request.tools = &conversation["tools"];
  if (conversation.contains("options") && !conversation["options"].is_null()) {
    TRY(ReadOptions(conversation["options"], request));
  }
  return request;
}

Result<Json> RenderLine(const TextModel& model, const Json& line) {
  TRY_ASSIGN(const text::ChatRequest request, ReadRequest(line));
  const auto segments = text::RenderChat(*model.chat_format, request);
  if (!segments) return Json{{"error", segments.error().message}};  // the template's answer to this conversation
  TRY_ASSIGN(const std::vector<TokenId> ids, text::EncodeSegments(model.tokenizer, *segments));
  return Json{{"text", text::SegmentsToText(*segments)}, {"ids", ids}};
}

Status RenderOne(Console& console, const TextModel& model) {
  TRY_ASSIGN(const std::string input, console.ReadAll());
  TRY_ASSIGN(const Json conversation, text::ParseChatJson(input, "the conversation"));
  if (!conversation.is_object()) {
    return Fail(ErrorCode::kUsage, R"(the conversation is not an object {"messages": [...]})");
  }
  TRY_ASSIGN(const text::ChatRequest request, ReadRequest(conversation));
  TRY_ASSIGN(const auto segments, text::RenderChat(*model.chat_format, request));
  return console.WriteUntrusted(text::SegmentsToText(segments) + "\n");
}

Status Render(Console& console, const RenderFlags& flags) {
  TRY_ASSIGN(const TextModel model, LoadTextModel(flags.model));
  if (!model.chat_format) {
    return Fail(ErrorCode::kUsage, flags.model +
                                       ": the tokenizer has no markers for turns (<|turn> or <start_of_turn>), so "
                                       "there is no chat format to render; an instruction-tuned model's has");
  }
  if (!flags.jsonl) return RenderOne(console, model);
  return AnswerLines(console, [&](const Json& line) { return RenderLine(model, line); });
}

}  // namespace

void AddRender(CLI::App& app, Action& action) {
  auto flags = std::make_shared<RenderFlags>();
  CLI::App* command = app.add_subcommand("render", "A conversation as the model gets to see it");
  command->add_option("MODEL", flags->model, "A folder with a tokenizer.json, or a .gguf file; no weights are needed")
      ->required()
      ->envname("CARAT_MODEL");
  command->add_flag("--jsonl", flags->jsonl,
                    "Stdin holds a conversation {\"messages\": [...], \"tools\": [...], \"options\": {...}} per line; "
                    "each gives a line {\"text\": ..., \"ids\": [...]}, or {\"error\": ...} if it is refused. "
                    "Without this, stdin holds one, whose text is printed");
  command->callback([flags, &action] { action = [flags](Console& console) { return Render(console, *flags); }; });
}

}  // namespace carat::cli
