// carat describe: what is in pictures and videos.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/try.h"
#include "carat/conversation.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace carat::cli {
namespace {

struct DescribeFlags {
  EngineFlags engine;
  SessionFlags session;
  std::vector<std::string> files;
  std::string prompt;
  ConversationOptions conversation;
  bool json = false, stats = false;
};

std::string_view QuestionAbout(const Medium& medium) {
  return medium.kind == Medium::Kind::kVideo ? "Describe what happens in this video." : "Describe this picture.";
}

// Of one file; several have their names above their descriptions.
Status Describe(Console& console, Conversation& conversation, const Medium& medium, const DescribeFlags& flags) {
  conversation.Clear();
  TRY(conversation.AddUser(flags.prompt.empty() ? QuestionAbout(medium) : flags.prompt, {&medium, 1}));
  const std::string name = medium.path.empty() ? medium.name : medium.path.string();
  if (!flags.json && flags.files.size() > 1) TRY(console.WriteUntrusted(fmt::format("{}:\n", name)));
  const Session& session = conversation.session();
  return ShowAnswer(
      console, session, {.json = flags.json, .stats = flags.stats},
      [&](const ReplyCallback& on_event) { return conversation.Generate(on_event); },
      [&](const Reply& reply) {
        return fmt::format(R"({{"file":{},{})", JsonText(name), ReplyJson(reply, session, "").substr(1));
      });
}

Status DescribeAll(Console& console, const DescribeFlags& flags) {
  TRY_ASSIGN(const std::vector<Medium> media, OpenMedia(console, flags.files));
  TRY_ASSIGN(std::shared_ptr<const Engine> engine, flags.engine.Load(console));
  TRY_ASSIGN(Session session, flags.session.Create(console, std::move(engine), flags.conversation.media));
  TRY_ASSIGN(Conversation conversation, Conversation::Create(std::move(session), flags.conversation));
  // One that cannot be read is not the others' fault.
  Status first;
  for (const Medium& medium : media) {
    Status described = Describe(console, conversation, medium, flags);
    if (described) continue;
    if (described.error().code != ErrorCode::kBadMedia || media.size() == 1) return described;
    console.Note(fmt::format("carat: {}\n", WithoutControls(described.error().message, /*lines=*/false)));
    if (first) first = Fail(ErrorCode::kBadMedia, "not all files could be described");
  }
  return first;
}

}  // namespace

void AddDescribe(CLI::App& app, Action& action) {
  auto flags = std::make_shared<DescribeFlags>();
  CLI::App* command = app.add_subcommand("describe", "Say what is in pictures and videos, one by one");
  flags->engine.AddTo(*command);
  command->add_option("FILE", flags->files,
                      "Pictures and videos; -: a picture on stdin. MODEL may be left out before them if CARAT_MODEL is "
                      "set");
  command->add_option("--prompt", flags->prompt, "What to ask about each, instead of a description");
  AddMediaOptions(*command, flags->conversation.media);
  command
      ->add_option("--max-tokens", flags->conversation.max_tokens,
                   "Most tokens of a description; 0: as many as the context holds")
      ->check(AtLeastZero());
  command->add_flag("--json", flags->json,
                    "Print a JSON object for each file, with all that is known about the answer");
  command->add_flag("--stats", flags->stats, "Print times, speeds and memory to stderr");
  flags->session.AddTo(*command);
  command->callback([flags, &action] {
    if (!LooksLikeModel(flags->engine.model) || flags->files.empty()) {
      if (auto word = TakeModelFromEnvironment(flags->engine.model)) flags->files.insert(flags->files.begin(), *word);
    }
    if (flags->files.empty()) throw CLI::RequiredError("FILE");
    action = [flags](Console& console) { return DescribeAll(console, *flags); };
  });
}

}  // namespace carat::cli
