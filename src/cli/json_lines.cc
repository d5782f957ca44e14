#include "cli/json_lines.h"

#include <fmt/format.h>

#include <string>

#include "base/try.h"
#include "text/chat_json.h"

namespace carat::cli {

std::string JsonLine(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

Status AnswerLines(Console& console, const std::function<Result<Json>(const Json& question)>& answer) {
  const auto answer_line = [&](std::string_view line) -> Result<Json> {
    TRY_ASSIGN(const Json question, text::ParseChatJson(line, "the line"));
    if (!question.is_object()) return Fail(ErrorCode::kUsage, "the line is not a JSON object");
    return answer(question);
  };
  size_t lines = 0, errors = 0;
  for (std::string line;;) {
    TRY_ASSIGN(const bool more, console.ReadLine(line));
    if (!more) break;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    ++lines;
    const Result<Json> answered = answer_line(line);
    errors += !answered;
    TRY(console.Write(JsonLine(answered ? *answered : Json{{"error", answered.error().message}})));
  }
  if (errors == 0) return {};
  return Fail(ErrorCode::kFailure, fmt::format("{} of {} lines have an error for an answer", errors, lines));
}

}  // namespace carat::cli
