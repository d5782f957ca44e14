#include "cli/chat.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/try.h"
#include "cli/answer.h"
#include "cli/chat_settings.h"
#include "cli/line_editor.h"
#include "cli/typed_media.h"

namespace carat::cli {
namespace {

constexpr std::string_view kPrompt = ">>> ", kMorePrompt = "... ";
constexpr std::string_view kBlockMark = R"(""")";

constexpr std::string_view kHelp = R"(/help               this list
/image FILE         show a picture with the next message; its path in the message, or dropped there, does the same
/video FILE         the same of a video
/clear              forget the conversation (the system's message stays)
/system [TEXT]      show or set the system's message
/set [NAME VALUE]   show or change settings, such as: /set temperature 0.7, /set think on
/stats              tokens, times and memory of the last answer
/retry              another answer to the last message
/tool NAME RESULT   give the result of a tool that the model called
/save FILE          write the conversation to FILE; carat run MODEL --messages FILE goes on with it
/bye                leave (Ctrl-D too)
A line that ends with \ goes on in the next one, and so does all between lines with """. Ctrl-C stops an answer.
A message that begins with / needs a space before it, unless it begins with a file.
)";

// Takes the first word off `text`.
std::string_view TakeWord(std::string_view& text) {
  const size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  const size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(std::min(text.find_first_not_of(" \t", end), text.size()));
  return word;
}

bool IsBlank(std::string_view text) { return text.find_first_not_of(" \t\n") == text.npos; }

class Chat {
 public:
  Chat(Console& console, LineEditor& editor, Conversation& conversation, const ChatStart& start)
      : console_(console),
        editor_(editor),
        conversation_(conversation),
        show_stats_(start.stats),
        media_(start.media) {}

  Status Run();

 private:
  // The next message or command; false when the user leaves.
  bool ReadMessage(std::string& message);
  // False if the user gave the message up.
  bool ReadRest(std::string& message, bool block);
  Status OnMessage(const std::string& message);
  Status OnCommand(std::string_view command);
  Status Answer();

  void Show(Medium::Kind kind, std::string_view path);
  void Clear();
  void System(std::string_view text);
  void Set(std::string_view arguments);
  void ShowStats();
  void Save(std::string_view path);
  Status Retry();
  Status Tool(std::string_view arguments);

  void Say(std::string_view text) {
    console_.Note(console_.dim());
    console_.NoteUntrusted(text);
    console_.Note(console_.plain());
  }
  void SayPending(std::string_view message) {
    const size_t count = media_.size();
    Say(fmt::format("({} to go with {})\n",
                    count == 1 ? "a picture or video" : fmt::format("{} pictures and videos", count), message));
  }
  void Complain(const Error& error) {
    console_.Note(fmt::format("carat: {}\n", WithoutControls(error.message, /*lines=*/false)));
  }

  Console& console_;
  LineEditor& editor_;
  Conversation& conversation_;
  bool show_stats_;
  std::vector<Medium> media_;  // of the next message
  std::optional<Reply> last_;
  bool last_failed_ = false;
  bool leaving_ = false;
};

Status Chat::Run() {
  const Session& session = conversation_.session();
  Say(fmt::format("{}, {} tokens of context. /help lists the commands, Ctrl-D leaves.\n", session.engine().info().name,
                  session.context()));
  if (!media_.empty()) SayPending("the first message");
  std::string message;
  while (!leaving_ && ReadMessage(message)) {
    if (IsBlank(message)) continue;
    editor_.Remember(message);
    std::string text = message;
    const std::vector<Medium> named = TakeMedia(text);
    if (message.starts_with('/') && text.starts_with('/')) {  // and that is not the file that it begins with
      TRY(OnCommand(message));
      continue;
    }
    media_.insert(media_.end(), named.begin(), named.end());
    TRY(OnMessage(text));
  }
  return {};
}

bool Chat::ReadMessage(std::string& message) {
  for (;;) {
    const LineEditor::Outcome outcome = editor_.Read(kPrompt, message);
    if (outcome == LineEditor::Outcome::kEnd) return false;
    if (outcome == LineEditor::Outcome::kInterrupted) continue;
    if (!message.starts_with(kBlockMark)) {
      if (!message.ends_with('\\') || ReadRest(message, /*block=*/false)) return true;
      continue;
    }
    message.erase(0, kBlockMark.size());
    if (message.ends_with(kBlockMark)) {
      message.resize(message.size() - kBlockMark.size());
      return true;
    }
    if (ReadRest(message, /*block=*/true)) return true;
  }
}

bool Chat::ReadRest(std::string& message, bool block) {
  std::string line;
  for (;;) {
    if (!block) message.pop_back();
    const LineEditor::Outcome outcome = editor_.Read(kMorePrompt, line);
    if (outcome == LineEditor::Outcome::kInterrupted) return false;
    if (outcome == LineEditor::Outcome::kEnd) return true;
    message += '\n';
    message += line;
    if (!block && !line.ends_with('\\')) return true;
    if (block && line.ends_with(kBlockMark)) {
      message.resize(message.size() - kBlockMark.size());
      return true;
    }
  }
}

Status Chat::OnMessage(const std::string& message) {
  if (IsBlank(message)) return SayPending("the next message"), Status();
  const Status added = conversation_.AddUser(message, media_);
  if (added) {
    const bool asks_about_media = !media_.empty();
    TRY(Answer());
    if (!last_failed_) {
      media_.clear();
    } else if (asks_about_media) {
      SayPending("the next message; /clear takes them away");
    }
    return {};
  }
  Complain(added.error());
  if (conversation_.open_calls() > 0) Say("(/tool NAME RESULT gives it; /retry drops the answer)\n");
  return {};
}

Status Chat::OnCommand(std::string_view command) {
  const std::string_view name = TakeWord(command);
  if (name == "/help") return console_.Note(kHelp), Status();
  if (name == "/image") return Show(Medium::Kind::kImage, command), Status();
  if (name == "/video") return Show(Medium::Kind::kVideo, command), Status();
  if (name == "/clear") return Clear(), Status();
  if (name == "/system") return System(command), Status();
  if (name == "/set") return Set(command), Status();
  if (name == "/stats") return ShowStats(), Status();
  if (name == "/save") return Save(command), Status();
  if (name == "/retry") return Retry();
  if (name == "/tool") return Tool(command);
  if (name == "/bye") return leaving_ = true, Status();
  Complain({ErrorCode::kUsage, fmt::format("there is no command {}; /help lists them", name)});
  return {};
}

Status Chat::Answer() {
  AnswerPrinter printer(console_);
  const Result<Reply> reply = conversation_.Generate(printer.Callback());
  TRY(printer.Finish());
  last_failed_ = !reply;
  if (!reply) {
    // The question would be in the way of the next one. The arrow keys bring it back.
    conversation_.DropQuestion();
    Complain(reply.error());
    if (reply.error().code == ErrorCode::kDoesNotFit) Say("(the message was taken back; /clear makes room)\n");
    return {};
  }
  last_ = *reply;
  const std::string stop = StopText(*reply, conversation_.session());
  if (!stop.empty()) Say(fmt::format("({})\n", stop));
  if (reply->stop == StopReason::kToolCalls) Say("(/tool NAME RESULT gives the model what the tool says)\n");
  if (show_stats_) ShowStats();
  return {};
}

void Chat::Show(Medium::Kind kind, std::string_view path) {
  while (!path.empty() && IsBlank(path.substr(path.size() - 1))) path.remove_suffix(1);
  if (path.empty()) return Complain({ErrorCode::kUsage, "/image and /video need the name of a file"});
  Result<Medium> medium = OpenMedium(TypedPath(path));
  if (!medium) return Complain(medium.error());
  medium->kind = kind;
  media_.push_back(*std::move(medium));
  SayPending("the next message");
}

void Chat::Clear() {
  conversation_.Clear();
  media_.clear();
  last_.reset();
}

void Chat::System(std::string_view text) {
  ConversationOptions options = conversation_.options();
  if (text.empty()) return Say(options.system.empty() ? "(none)\n" : options.system + "\n");
  options.system = text;
  if (const Status set = conversation_.set_options(options); !set) Complain(set.error());
}

void Chat::Set(std::string_view arguments) {
  const std::string_view name = TakeWord(arguments), value = TakeWord(arguments);
  if (name.empty()) return Say(DescribeSettings(conversation_));
  if (const Status set = ChangeSetting(conversation_, name, value); !set) Complain(set.error());
}

void Chat::ShowStats() { Say(last_ ? StatsText(*last_, conversation_.session()) : "(no answer so far)\n"); }

void Chat::Save(std::string_view path) {
  if (path.empty()) return Complain({ErrorCode::kUsage, "/save needs the name of a file"});
  std::ofstream file{std::string(path), std::ios::binary};
  file << conversation_.MessagesJson();
  file.close();
  if (!file) return Complain({ErrorCode::kFailure, fmt::format("cannot write {}: {}", path, std::strerror(errno))});
  Say(fmt::format("(saved to {})\n", path));
}

Status Chat::Retry() {
  if (!conversation_.has_question()) {
    if (const Status dropped = conversation_.DropAnswer(); !dropped) return Complain(dropped.error()), Status();
  }
  return Answer();
}

Status Chat::Tool(std::string_view arguments) {
  const std::string_view name = TakeWord(arguments);
  const Status added = conversation_.AddToolResult(name, arguments);
  if (!added) return Complain(added.error()), Status();
  if (const int open = conversation_.open_calls(); open > 0) {
    Say(fmt::format("({} more to come)\n", open));
    return {};
  }
  return Answer();
}

}  // namespace

Status RunChat(Console& console, Conversation& conversation, const ChatStart& start) {
  TRY_ASSIGN(const std::unique_ptr<LineEditor> editor, LineEditor::Create(console));
  return Chat(console, *editor, conversation, start).Run();
}

}  // namespace carat::cli
