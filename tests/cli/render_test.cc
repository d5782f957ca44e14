// carat render: the chat formats as a user gets to see them.
#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "tests/cli/command.h"
#include "tests/support/fetched_data.h"
#include "tests/support/tokenizer_json.h"
#include "text/chat_json.h"

namespace carat::testing_support {
namespace {

class RenderCommandTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    WriteTokenizer(kGemma4ControlTokens);
    model_ = Path("");
  }
  void WriteTokenizer(const std::vector<std::string>& control) const {
    Write("tokenizer.json", TokenizerJson(control, {"\u2581", "\n", "u", "s", "e", "r"}, {}).dump());
  }
  Outcome Render(const std::string& input, const std::string& option = "--jsonl") const {
    return RunCarat({"render", model_, option}, {.input = input});
  }

  std::string model_;
};

TEST_F(RenderCommandTest, GivesTextAndIds) {
  const Outcome outcome = Render(R"({"messages": [{"role": "user", "content": "<|turn>"}]})"
                                 "\n");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto answer = ParseJson(outcome.out, "the answer");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ((*answer)["text"], "<bos><|turn>user\n<|turn><turn|>\n");
  const auto ids = (*answer)["ids"].get<std::vector<int>>();
  ASSERT_EQ(ids.size(), 16u);
  EXPECT_EQ(ids[0], 2);
  EXPECT_EQ(ids[1], 4);
  EXPECT_EQ(std::ranges::count(ids, 4), 1);  // what the user wrote is no turn
  EXPECT_EQ(ids[14], 5);
}

TEST_F(RenderCommandTest, FollowsTheOptions) {
  const auto text = [&](const std::string& options) {
    const Outcome outcome = Render(R"({"messages": [{"role": "user", "content": "x"}], "options": )" + options + "}\n");
    const auto answer = ParseJson(outcome.out, "the answer");
    return answer && answer->contains("text") ? (*answer)["text"].get<std::string>() : outcome.out;
  };
  EXPECT_EQ(text("{}"), "<bos><|turn>user\nx<turn|>\n");
  EXPECT_EQ(text("null"), "<bos><|turn>user\nx<turn|>\n");
  EXPECT_EQ(text(R"({"add_generation_prompt": true})"), "<bos><|turn>user\nx<turn|>\n<|turn>model\n");
  EXPECT_EQ(text(R"({"enable_thinking": true})"), "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nx<turn|>\n");
  EXPECT_EQ(text(R"({"think": true})"),
            "{\"error\":\"unknown option \\\"think\\\"; there are add_generation_prompt, enable_thinking and "
            "preserve_thinking\"}\n");
  EXPECT_EQ(text(R"({"enable_thinking": 1})"),
            "{\"error\":\"the option \\\"enable_thinking\\\" is not true or false\"}\n");
}

// A conversation that the template refuses is answered like any other; a line that is none is a mistake.
TEST_F(RenderCommandTest, TellsRefusalsFromMistakes) {
  const Outcome refused = Render("{\"messages\": [{\"content\": \"x\"}]}\n{\"messages\": []}\n");
  EXPECT_EQ(refused.exit_code, 0) << refused.err;
  EXPECT_EQ(refused.out, "{\"error\":\"message 0: needs a role\"}\n{\"text\":\"<bos>\",\"ids\":[2]}\n");
  const Outcome mistaken = Render("{\"messages\": [}\n{\"messages\": []}\n{}\n");
  EXPECT_TRUE(FailsWith(mistaken, 1, "1 of 3 lines have an error for an answer"));
  EXPECT_EQ(mistaken.out,
            "{\"error\":\"the line is not valid JSON at byte 15\"}\n{\"text\":\"<bos>\",\"ids\":[2]}\n"
            "{\"error\":\"messages must be a list\"}\n");
}

TEST_F(RenderCommandTest, WithoutLinesPrintsTheTextOfOneConversation) {
  const std::string conversation = "{\n \"messages\": [{\"role\": \"user\",\n \"content\": \"x\"}]\n}\n";
  const Outcome outcome = RunCarat({"render", model_}, {.input = conversation});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "<bos><|turn>user\nx<turn|>\n\n");
  EXPECT_TRUE(FailsWith(RunCarat({"render", model_}, {.input = "[]"}), 2, "is not an object"));
  EXPECT_TRUE(FailsWith(RunCarat({"render", model_}, {.input = "{\"messages\":[1]}"}), 2, "message 0: needs a role"));
}

TEST_F(RenderCommandTest, KnowsTheFormatByTheTokenizer) {
  WriteTokenizer({"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"});
  const std::string line = "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n";
  EXPECT_TRUE(Render(line).out.starts_with("{\"text\":\"<bos><start_of_turn>user\\nx<end_of_turn>\\n\""))
      << Render(line).out;
  WriteTokenizer({"<pad>", "<eos>", "<bos>", "<unk>"});
  EXPECT_TRUE(FailsWith(Render(line), 2, "the tokenizer has no markers for turns"));
}

// With the vocabulary of Gemma 4: the known answers, and their tokens, which are those of the text as a whole.
TEST_F(RenderCommandTest, GivesTheKnownAnswers) {
  const std::filesystem::path vocabulary = FetchedTokenizer("gemma4");
  if (!std::filesystem::exists(vocabulary)) {
    if (DataIsRequired()) FAIL() << vocabulary << " is missing";
    GTEST_SKIP() << "scripts/fetch_tokenizer.sh fetches the vocabularies";
  }
  std::filesystem::remove(Path("tokenizer.json"));
  std::filesystem::create_symlink(vocabulary, Path("tokenizer.json"));
  const auto records = text::ParseChatJson(Read(Data("chat/known-answers.json")), "known answers");
  ASSERT_TRUE(records) << records.error().message;
  ASSERT_EQ(records->size(), 84u);

  std::string questions, texts;
  for (const Json& record : *records) questions += text::DumpChatJson(record) + "\n";
  const Outcome rendered = Render(questions);
  ASSERT_EQ(rendered.exit_code, 0) << rendered.err;
  std::vector<Json> answers;
  for (size_t at = 0, end = 0; (end = rendered.out.find('\n', at)) != std::string::npos; at = end + 1) {
    const auto answer = ParseJson(std::string_view(rendered.out).substr(at, end - at), "an answer");
    ASSERT_TRUE(answer) << answer.error().message;
    answers.push_back(*answer);
  }
  ASSERT_EQ(answers.size(), records->size());
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].contains("text")) << answers[i].dump();
    EXPECT_EQ(answers[i]["text"], (*records)[i]["rendered"]) << (*records)[i]["name"];
    texts += Json{{"text", answers[i]["text"]}}.dump() + "\n";
  }

  std::string tokenized = RunCarat({"tokenize", model_, "--jsonl", "--special"}, {.input = texts}).out;
  for (size_t i = 0; i < answers.size(); ++i) {
    const size_t end = tokenized.find('\n');
    ASSERT_NE(end, std::string::npos);
    const auto whole = ParseJson(std::string_view(tokenized).substr(0, end), "ids");
    ASSERT_TRUE(whole);
    // Where a user's text has control strings in it, tokenizing the whole text is the mistake that rendering avoids.
    const bool forged = (*records)[i]["messages"].dump().find("<|") != std::string::npos;
    if (!forged) {
      EXPECT_EQ(answers[i]["ids"], (*whole)["ids"]) << (*records)[i]["name"];
    }
    tokenized.erase(0, end + 1);
  }
}

}  // namespace
}  // namespace carat::testing_support
