// Shows answers, and what there is to say about them.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "carat/conversation.h"
#include "cli/console.h"

namespace carat::cli {

// Text goes to stdout as it comes, a tool call as one line of JSON, thoughts to stderr.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(Console& console) : console_(console) {}

  // For Generate. Stops the answer on Ctrl-C, and when stdout cannot be written.
  ReplyCallback Callback();
  // Ends the line that is open. Error: kFailure if stdout could not be written.
  Status Finish();

 private:
  bool Show(const ReplyEvent& event);
  void ShowThought(std::string_view text);
  void EndThought();
  void ShowText(std::string_view text);
  void ShowCall(const ToolCall& call);
  void Keep(Status written);

  Console& console_;
  Status written_;
  bool in_thought_ = false;
  bool line_open_ = false;  // stdout is in the middle of a line
};

// {"id":...,"name":...,"arguments":{...}}
std::string ToolCallJson(const ToolCall& call);

// All about an answer as one JSON object on a line. `message`: the answer as a message of the history, JSON text; none
// if empty.
std::string ReplyJson(const Reply& reply, const Session& session, std::string_view message);

// How one answer is shown.
struct AnswerForm {
  bool json = false;   // as a line of JSON rather than as it comes
  bool stats = false;  // with StatsText on stderr
};
using Generate = std::function<Result<Reply>(const ReplyCallback&)>;
// Generates one answer and shows it; `json_line` makes the line of it. An answer that was cut off is an error
// (kDoesNotFit, kInterrupted), though what there is of it was shown.
Status ShowAnswer(Console& console, const Session& session, const AnswerForm& form, const Generate& generate,
                  const std::function<std::string(const Reply&)>& json_line);

// What became of a picture or a video, a line.
std::string MediumText(const MediumReport& medium);

// Times, speeds and memory, a line each.
std::string StatsText(const Reply& reply, const Session& session);

// Why an answer ended early, in a sentence without a full stop; empty if it did not.
std::string StopText(const Reply& reply, const Session& session);

}  // namespace carat::cli
