// carat tokenize, carat detokenize.
#include "base/json.h"
#include "tests/cli/command.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tokenizer_json.h"

namespace carat::testing_support {
namespace {

// A model of which there is a tokenizer only.
class TokenizeCommandTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    Write("tokenizer.json", TokenizerJson({"<pad>", "<eos>", "<bos>", "<unk>"}, {"\u2581", "a", "b", "ab", "\u2581a"},
                                          {{"\u2581", "a"}, {"a", "b"}})
                                .dump());
    model_ = Path("");
  }
  Outcome Tokenize(std::vector<std::string> arguments, const std::string& input = {}) const {
    arguments.insert(arguments.begin(), {"tokenize", model_});
    return RunCarat(arguments, {.input = input});
  }
  Outcome Detokenize(std::vector<std::string> arguments, const std::string& input = {}) const {
    arguments.insert(arguments.begin(), {"detokenize", model_});
    return RunCarat(arguments, {.input = input});
  }

  std::string model_;
};

TEST_F(TokenizeCommandTest, PrintsTheIdsOfAText) {
  EXPECT_EQ(Tokenize({"ab a"}).out, "263 264\n");
  EXPECT_EQ(Tokenize({""}).out, "\n");
  EXPECT_EQ(Tokenize({}, "ab\n").out, "263 14\n");     // stdin, every byte of it
  EXPECT_EQ(Tokenize({"\xff"}).out, "243 195 193\n");  // U+FFFD
  EXPECT_EQ(Tokenize({"<bos>a", "--special"}).out, "2 261\n");
  EXPECT_EQ(Tokenize({"<bos>"}).out, "64 262 115 119 66\n");
}

TEST_F(TokenizeCommandTest, PrintsTheTextOfIds) {
  EXPECT_EQ(Detokenize({"263", "264"}).out, "ab a\n");
  EXPECT_EQ(Detokenize({}, "[263, 264]\n").out, "ab a\n");
  EXPECT_EQ(Detokenize({"2", "261"}).out, "a\n");
  EXPECT_EQ(Detokenize({"2", "261", "--special"}).out, "<bos>a\n");
  EXPECT_EQ(Detokenize({}, "").out, "\n");
  EXPECT_EQ(Detokenize({"199"}).out, "\uFFFD\n");  // half a character
}

TEST_F(TokenizeCommandTest, AnswersLineByLine) {
  const Outcome ids = Tokenize(
      {"--jsonl"}, "{\"text\": \"ab a\"}\n\n  \n{\"text\": \"\", \"more\": 1}\r\n{\"text\": \"<bos>\\u0000\"}");
  EXPECT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_EQ(ids.out, "{\"ids\":[263,264]}\n{\"ids\":[]}\n{\"ids\":[64,262,115,119,66,4]}\n");
  EXPECT_EQ(Tokenize({"--jsonl", "--special"}, "{\"text\":\"<bos>\"}\n").out, "{\"ids\":[2]}\n");
  const Outcome text = Detokenize({"--jsonl"}, "{\"ids\":[2,263,264,14]}\n{\"ids\":[]}\n");
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, "{\"text\":\"ab a\\n\"}\n{\"text\":\"\"}\n");
}

TEST_F(TokenizeCommandTest, ALineThatIsWrongHasAnErrorForAnAnswer) {
  const Outcome ids =
      Tokenize({"--jsonl"}, "{\"text\": 7}\n[1]\n{\"text\": \"a\"}\nnonsense\n{\"text\": \"\xff\"}\n{}\n");
  EXPECT_TRUE(FailsWith(ids, 1, "5 of 6 lines have an error for an answer"));
  EXPECT_EQ(
      ids.out,
      "{\"error\":\"the line has no text \\\"text\\\"\"}\n{\"error\":\"the line is not a JSON object\"}\n"
      "{\"ids\":[261]}\n{\"error\":\"the line is not valid JSON at byte 2\"}\n"
      "{\"error\":\"the line is not valid JSON at byte 11\"}\n{\"error\":\"the line has no text \\\"text\\\"\"}\n");
  const Outcome text = Detokenize({"--jsonl"},
                                  "{\"ids\":[265]}\n{\"ids\":[-1]}\n{\"ids\":[1.5]}\n{\"ids\":[\"1\"]}\n"
                                  "{\"ids\":[99999999999999999999]}\n{\"ids\":[18446744073709551615]}\n{\"ids\":1}\n");
  EXPECT_TRUE(FailsWith(text, 1, "7 of 7 lines have an error for an answer"));
  EXPECT_TRUE(text.out.starts_with("{\"error\":\"the id 265 is outside of the vocabulary, which ends with 264\"}\n"))
      << text.out;
}

TEST_F(TokenizeCommandTest, Mistakes) {
  EXPECT_TRUE(FailsWith(Detokenize({"265"}), 2, "the id 265 is outside of the vocabulary, which ends with 264"));
  EXPECT_TRUE(FailsWith(Detokenize({"12x"}), 2, "'12x' is not a token id"));
  EXPECT_TRUE(FailsWith(Detokenize({"99999999999999999999"}), 2, "is not a token id"));
  EXPECT_TRUE(FailsWith(Tokenize({"a", "--jsonl"}), 2, "--jsonl reads stdin; leave out the TEXT"));
  EXPECT_TRUE(FailsWith(Detokenize({"1", "--jsonl"}), 2, "--jsonl reads stdin; leave out the IDS"));
  EXPECT_TRUE(FailsWith(RunCarat({"tokenize"}), 2, "MODEL is required (see carat tokenize --help)"));
  EXPECT_TRUE(FailsWith(RunCarat({"tokenize", Path("nowhere"), "a"}), 3, "nowhere: no such file or folder"));
  EXPECT_TRUE(
      FailsWith(RunCarat({"tokenize", Data("golden/hf-e2b/model"), "a"}), 2, "the checkpoint has no tokenizer"));
  Write("tokenizer.json", "{}");
  EXPECT_TRUE(FailsWith(Tokenize({"a"}), 4, "tokenizer.json: has no \"model\""));
}

TEST_F(TokenizeCommandTest, TheModelMayComeFromTheEnvironment) {
  const auto run = [&](const std::vector<std::string>& arguments, const std::string& input = {}) {
    return RunCarat(arguments, {.input = input, .environment = {{"CARAT_MODEL", model_}}});
  };
  EXPECT_EQ(run({"tokenize", "ab a"}).out, "263 264\n");
  EXPECT_EQ(run({"tokenize"}, "ab").out, "263\n");
  EXPECT_EQ(run({"tokenize", "--jsonl"}, "{\"text\": \"ab\"}\n").out, "{\"ids\":[263]}\n");
  EXPECT_TRUE(FailsWith(run({"tokenize", "ab", "--jsonl"}), 2, "leave out the TEXT"));
  EXPECT_EQ(run({"detokenize", "263", "264"}).out, "ab a\n");
  EXPECT_EQ(run({"detokenize", "263"}).out, "ab\n");
  EXPECT_EQ(run({"detokenize"}, "263").out, "ab\n");
  // A model that is named comes first.
  EXPECT_TRUE(FailsWith(run({"tokenize", "none.gguf"}), 3, "none.gguf: no such file or folder"));
  EXPECT_EQ(run({"tokenize", model_, "ab"}).out, "263\n");
}

TEST_F(TokenizeCommandTest, TakesAGgufFileWithoutWeights) {
  std::vector<std::string> tokens = {"<bos>", "a"};
  for (int byte = 0; byte < 256; ++byte) {
    char piece[8];
    std::snprintf(piece, sizeof(piece), "<0x%02X>", byte);
    tokens.emplace_back(piece);
  }
  GgufBuilder gguf;
  gguf.String("tokenizer.ggml.model", "gemma4");
  gguf.Add(GgufBuilder::Entry("tokenizer.ggml.tokens", GgufBuilder::kArray, GgufBuilder::StringArray(tokens)));
  const std::string model = Write("model.gguf", gguf.Build());
  EXPECT_EQ(RunCarat({"tokenize", model, "a<bos>", "--special"}).out, "1 0\n");
  EXPECT_EQ(RunCarat({"detokenize", model, "1", "100"}).out, "ab\n");
}

}  // namespace
}  // namespace carat::testing_support
