// Commands that answer line by line: JSON on stdin, JSON on stdout.
#pragma once

#include <functional>
#include <string_view>

#include "base/json.h"
#include "carat/result.h"
#include "cli/console.h"

namespace carat::cli {

// Hands every line of stdin that is a JSON object to `answer`, and writes what it returns as a line, at once. A line
// that is something else, or whose answer is an error, becomes {"error": "..."}; the status then is kFailure and says
// how many. Lines without anything in them are passed over.
Status AnswerLines(Console& console, const std::function<Result<Json>(const Json& question)>& answer);

// A value as one line of JSON; invalid UTF-8 as U+FFFD.
std::string JsonLine(const Json& value);

}  // namespace carat::cli
