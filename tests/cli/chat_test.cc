// The chat of carat run, on a terminal, with a tiny chat model (tools/reference/chat_model.py).
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/cli/command.h"
#include "tests/cli/terminal.h"

namespace carat::testing_support {
namespace {

class ChatTest : public CommandTest {
 protected:
  std::vector<std::string> Arguments(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"run", kModel, "--temperature", "0"});
    return more;
  }
  // Types a message and waits for the prompt behind the answer. What was shown between.
  static std::string Say(Terminal& terminal, const std::string& message) {
    terminal.Type(message + "\r");
    return terminal.WaitFor(kPrompt);
  }

  static constexpr const char* kPrompt = "\033[?2004h";  // sent before every line that is read
  const std::string kModel = Data("chat-models/gemma4");
};

bool Has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_F(ChatTest, AnswersUntilTheUserLeaves) {
  Terminal terminal(Arguments());
  terminal.WaitFor("/help lists the commands");
  terminal.WaitFor(kPrompt);
  EXPECT_TRUE(Has(Say(terminal, "What is the capital of France?"), "Paris.\r\n"));
  EXPECT_TRUE(Has(Say(terminal, "What is the capital of Italy?"), "Rome.\r\n"));
  EXPECT_TRUE(Has(Say(terminal, "/stats"), "more were in the cache"));
  EXPECT_TRUE(Has(Say(terminal, "/retry"), "Rome.\r\n"));
  EXPECT_TRUE(Has(Say(terminal, "/nonsense"), "there is no command /nonsense"));
  terminal.Type("\x04");  // Ctrl-D
  EXPECT_EQ(terminal.Wait(), 0);
}

TEST_F(ChatTest, ChangesSettings) {
  Terminal terminal(Arguments());
  terminal.WaitFor(kPrompt);
  Say(terminal, "/system Be brief.");
  EXPECT_TRUE(Has(Say(terminal, "/system"), "Be brief.\r\n"));
  Say(terminal, "/set think on");
  EXPECT_TRUE(Has(Say(terminal, "What is the capital of France?"), "The user wants a capital."));
  Say(terminal, "/set top-p 0.5");
  EXPECT_TRUE(Has(Say(terminal, "/set"), "top-p                0.5\r\n"));
  EXPECT_TRUE(Has(Say(terminal, "/set top-p 2"), "carat: top_p"));
  EXPECT_TRUE(Has(Say(terminal, "/set top-p x"), "carat: top-p: 'x' is not a number"));
  EXPECT_TRUE(Has(Say(terminal, "/set colour 2"), "there is no setting 'colour'; there are: think, max-tokens"));
  Say(terminal, "/set max-tokens 1");
  EXPECT_TRUE(Has(Say(terminal, "/retry"), "as --max-tokens says"));
  terminal.Type("/bye\r");
  EXPECT_EQ(terminal.Wait(), 0);
}

TEST_F(ChatTest, CarriesResultsOfToolsAndSaves) {
  const std::string tools =
      Write("tools.json", R"([{"type": "function", "function": {"name": "get_time", "description": "The time"}}])");
  Terminal terminal(Arguments({"--tools", tools}));
  terminal.WaitFor(kPrompt);
  EXPECT_TRUE(Has(Say(terminal, "What time is it in Rome?"),
                  R"({"id":"call_1","name":"get_time","arguments":{"city":"Rome"}})"));
  EXPECT_TRUE(Has(Say(terminal, "Well?"), "the model waits for the result of get_time"));
  EXPECT_TRUE(Has(Say(terminal, "/tool clock noon"), "but of: get_time"));
  EXPECT_TRUE(Has(Say(terminal, "/tool get_time 7 pm"), "It is 7 pm in Rome.\r\n"));
  EXPECT_TRUE(Has(Say(terminal, "/save " + Path("no/such/folder")), "cannot write"));
  EXPECT_TRUE(Has(Say(terminal, "/save " + Path("chat.json")), "saved"));
  terminal.Type("\x04");
  EXPECT_EQ(terminal.Wait(), 0);
  const auto saved = ParseJson(Read(Path("chat.json")), "chat.json");
  ASSERT_TRUE(saved);
  ASSERT_EQ(saved->size(), 4u);
  EXPECT_EQ((*saved)[2]["content"], "7 pm");

  // The chat goes on where it was saved.
  Terminal second(Arguments({"--messages", Path("chat.json"), "--tools", tools}));
  second.WaitFor(kPrompt);
  EXPECT_TRUE(Has(Say(second, "/retry"), "It is 7 pm in Rome.\r\n"));
  Say(second, "/clear");
  EXPECT_TRUE(Has(Say(second, "/retry"), "there is no answer to drop"));
}

TEST_F(ChatTest, TakesMessagesOfSeveralLines) {
  const std::string saved = Path("chat.json");
  Terminal terminal(Arguments({"--max-tokens", "1"}));
  terminal.WaitFor(kPrompt);
  Say(terminal, "one\\");
  Say(terminal, "two\\");
  Say(terminal, "three");
  Say(terminal, R"("""four)");
  Say(terminal, "");
  Say(terminal, R"(five""")");
  Say(terminal, "\033[200~six\r\tseven\n\xe6\x97\xa5\xf0\x9f\x99\x82\033[201~!");  // pasted
  terminal.Type("forgotten\x03");                                                  // Ctrl-C
  terminal.WaitFor(kPrompt);
  Say(terminal, "\033[A\033[A\033[A");  // arrows: the message of three lines once more
  Say(terminal, "/save " + saved);
  const auto messages = ParseJson(Read(saved), "chat.json");
  ASSERT_TRUE(messages) << terminal.shown();
  std::vector<std::string> said;
  for (const Json& message : *messages)
    if (message["role"] == "user") said.push_back(message["content"]);
  const std::string pasted = "six\n\tseven\n\xe6\x97\xa5\xf0\x9f\x99\x82!";
  EXPECT_EQ(said, (std::vector<std::string>{"one\ntwo\nthree", "four\n\nfive", pasted, "one\ntwo\nthree"}));
}

TEST_F(ChatTest, GoesOnWhenAMessageDoesNotFit) {
  Terminal terminal(Arguments({"--context", "100"}));
  terminal.WaitFor(kPrompt);
  EXPECT_TRUE(Has(Say(terminal, std::string(200, 'x')), "leaves no room for an answer"));
  EXPECT_TRUE(Has(Say(terminal, "What is the capital of Italy?"), "Rome.\r\n"));
}

TEST_F(ChatTest, AnswersOnceIfThereIsAPrompt) {
  Terminal terminal(Arguments({"What is the capital of France?", "--think"}));
  EXPECT_EQ(terminal.Wait(), 0);
  EXPECT_EQ(terminal.shown(), "\033[2mThe user wants a capital.\033[0m\r\nParis.\r\n");
}

TEST_F(ChatTest, OneAnswerAsJsonIsNoChat) {
  Terminal terminal(Arguments({"--json"}));
  EXPECT_EQ(terminal.Wait(), 2);
}

}  // namespace
}  // namespace carat::testing_support
