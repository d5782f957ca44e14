// carat run: one answer, a text that goes on, or a chat.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/try.h"
#include "carat/conversation.h"
#include "cli/answer.h"
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace carat::cli {
namespace {

struct RunFlags {
  EngineFlags engine;
  SessionFlags session;
  std::vector<std::string> prompt, files;
  ConversationOptions conversation;
  std::string tools_file, messages_file;
  bool raw = false, json = false, stats = false;
  bool system_is_typed = false;  // rather than a default from the environment
};

// On the command line, not in the environment.
bool IsTyped(const CLI::Option& option) {
  const char* value = std::getenv(option.get_envname().c_str());
  return option.count() > 0 && (value == nullptr || option.results().front() != value);
}

// --raw has no use for what chats need. Typed beside it, that is a mistake; in the environment it is meant for chats.
void DropChatOptions(const CLI::App& command, RunFlags& flags) {
  for (const char* name : {"--system", "--think", "--tools", "--messages", "--input"})
    if (IsTyped(*command.get_option(name))) throw CLI::ExcludesError("--raw", name);
  flags.conversation.system.clear();
  flags.conversation.think = false;
  flags.tools_file.clear();
  flags.messages_file.clear();
  flags.files.clear();
}

// Of files that are "-".
int64_t StdinUses(const RunFlags& flags) {
  return std::ranges::count(flags.files, "-") + (flags.tools_file == "-") + (flags.messages_file == "-");
}

// The words of the command line, and behind them what is piped in.
Result<std::string> ReadPrompt(const RunFlags& flags, Console& console) {
  std::string prompt = fmt::format("{}", fmt::join(flags.prompt, " "));
  if (console.stdin_is_terminal() || StdinUses(flags) > 0) return prompt;
  TRY_ASSIGN(std::string piped, console.ReadAll());
  if (piped.ends_with('\n')) piped.pop_back();  // of the last line; it is no part of the text
  if (!prompt.empty() && !piped.empty()) prompt += "\n\n";
  return prompt + piped;
}

// What is wrong with `path`'s content, with its name before it.
Status Naming(const std::string& path, Status status) {
  if (!status) status.error().message.insert(0, (path == "-" ? "standard input" : path) + ": ");
  return status;
}

// An empty file is an accident, not a wish for nothing.
Result<std::string> ReadJsonFile(const std::string& path, Console& console) {
  TRY_ASSIGN(std::string text, ReadInput(console, path));
  if (text.find_first_not_of(" \t\r\n") == text.npos) TRY(Naming(path, Fail(ErrorCode::kUsage, "is empty")));
  return text;
}

Status RunRaw(const RunFlags& flags, Console& console, Session session, const std::string& prompt) {
  return ShowAnswer(
      console, session, {.json = flags.json, .stats = flags.stats},
      [&](const ReplyCallback& on_event) {
        return ContinueText(session, prompt, flags.conversation.max_tokens, on_event);
      },
      [&](const Reply& reply) { return ReplyJson(reply, session, ""); });
}

// The last message of the history, as it stands on its line.
std::string LastMessage(const Conversation& conversation) {
  const std::string messages = conversation.MessagesJson();
  const size_t end = messages.rfind("\n]");
  const size_t begin = messages.rfind('\n', end - 1) + 1;
  return messages.substr(begin, end - begin);
}

// What a chat begins with: texts of the files that the user named, and media.
struct ChatFiles {
  std::string tools, messages;
  std::vector<Medium> media;
};

Result<Conversation> NewConversation(const RunFlags& flags, Session session, const ChatFiles& files) {
  ConversationOptions options = flags.conversation;
  TRY_ASSIGN(Conversation conversation, Conversation::Create(std::move(session), options));
  options.tools_json = files.tools;
  options.media_files = true;  // the user's own
  TRY(Naming(flags.tools_file, conversation.set_options(options)));
  if (files.messages.empty()) return conversation;
  TRY(Naming(flags.messages_file, conversation.AddMessages(files.messages)));
  if (flags.system_is_typed && conversation.options().system != options.system) {
    return Fail(ErrorCode::kUsage, fmt::format("{}: begins with a system message, and --system gives another one; "
                                               "leave out one of them",
                                               flags.messages_file));
  }
  return conversation;
}

Status RunConversation(const RunFlags& flags, Console& console, Session session, const std::string& prompt,
                       const ChatFiles& files) {
  TRY_ASSIGN(Conversation conversation, NewConversation(flags, std::move(session), files));
  const ModelInfo& info = conversation.session().engine().info();
  if (!info.has_chat_template && !flags.json) {
    console.Note(
        fmt::format("carat: {} comes without a chat template; if it was never taught to chat, --raw is its use\n",
                    WithoutControls(info.name, /*lines=*/false)));
  }
  // Pictures without a question wait for one in a chat.
  const bool chats = console.stdin_is_terminal() && !flags.json;
  if (prompt.empty() && chats && !conversation.has_question())
    return RunChat(console, conversation, {.stats = flags.stats, .media = files.media});
  if (!prompt.empty() || !files.media.empty()) TRY(conversation.AddUser(prompt, files.media));
  const Session& own_session = conversation.session();
  return ShowAnswer(
      console, own_session, {.json = flags.json, .stats = flags.stats},
      [&](const ReplyCallback& on_event) { return conversation.Generate(on_event); },
      [&](const Reply& reply) { return ReplyJson(reply, own_session, LastMessage(conversation)); });
}

Status Run(RunFlags flags, Console& console) {
  if (!LooksLikeModel(flags.engine.model)) {
    if (auto word = TakeModelFromEnvironment(flags.engine.model)) flags.prompt.insert(flags.prompt.begin(), *word);
  }
  if (StdinUses(flags) > 1) {
    return Fail(ErrorCode::kUsage,
                "standard input can hold the tools, the messages or a picture, but one of them only");
  }
  ChatFiles files;
  if (!flags.tools_file.empty()) {
    TRY_ASSIGN(files.tools, ReadJsonFile(flags.tools_file, console));
  }
  if (!flags.messages_file.empty()) {
    TRY_ASSIGN(files.messages, ReadJsonFile(flags.messages_file, console));
  }
  TRY_ASSIGN(files.media, OpenMedia(console, flags.files));
  TRY_ASSIGN(const std::string prompt, ReadPrompt(flags, console));
  const bool may_chat = console.stdin_is_terminal() && !flags.raw && !flags.json;
  if (prompt.empty() && flags.messages_file.empty() && files.media.empty() && !may_chat) {
    return Fail(ErrorCode::kUsage, "there is no prompt; give it as an argument or on standard input");
  }
  TRY_ASSIGN(std::shared_ptr<const Engine> engine, flags.engine.Load(console));
  std::optional<MediaOptions> media;
  if (!flags.files.empty() || !flags.messages_file.empty() || (prompt.empty() && may_chat))
    media = flags.conversation.media;
  TRY_ASSIGN(Session session, flags.session.Create(console, std::move(engine), media));
  return flags.raw ? RunRaw(flags, console, std::move(session), prompt)
                   : RunConversation(flags, console, std::move(session), prompt, files);
}

}  // namespace

void AddRun(CLI::App& app, Action& action) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or chat on a terminal");
  flags->engine.AddTo(*command);
  command->add_option(
      "PROMPT", flags->prompt,
      "What to answer; text piped in is put behind it. Without either: a chat. MODEL may be left out if "
      "CARAT_MODEL is set");
  command
      ->add_option("-i,--input", flags->files,
                   "A picture or a video that the prompt is about; may be given several times. -: a picture on stdin")
      ->type_name("FILE")
      ->allow_extra_args(false);
  AddMediaOptions(*command, flags->conversation.media);
  command->add_option("--system", flags->conversation.system, "What the model is told before the conversation");
  command->add_flag("--think", flags->conversation.think,
                    "Let the model think before it answers; thoughts go to stderr");
  command
      ->add_option("--max-tokens", flags->conversation.max_tokens,
                   "Most tokens of an answer; 0: as many as the context holds")
      ->check(AtLeastZero());
  command->add_option(
      "--tools", flags->tools_file,
      "JSON file with a list of tools, as in the OpenAI API; a call is printed as one line of JSON. -: stdin");
  command->add_option("--messages", flags->messages_file,
                      "JSON file with the conversation so far, as in the OpenAI API or from /save. -: stdin");
  command->add_flag("--raw", flags->raw,
                    "Continue the prompt as a text, without the chat format; not with --system, --think, --tools, "
                    "--messages or --input");
  command->add_flag("--json", flags->json, "Print one JSON object: the answer, and all that is known about it");
  command->add_flag("--stats", flags->stats, "Print times, speeds and memory to stderr");
  flags->session.AddTo(*command);
  command->callback([flags, command, &action] {
    if (flags->raw) DropChatOptions(*command, *flags);
    flags->system_is_typed = IsTyped(*command->get_option("--system"));
    action = [flags](Console& console) -> Status { return Run(*flags, console); };
  });
}

}  // namespace carat::cli
