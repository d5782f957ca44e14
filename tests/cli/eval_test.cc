// carat eval --logprobs: what a model gives to a text.
#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "carat/session.h"
#include "tests/cli/command.h"

namespace carat::testing_support {
namespace {

class EvalCommandTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    text_ = Write("text.txt", kText);
  }

  static constexpr const char* kText = "a b\nab";
  const std::string kModel = Data("golden/gguf-q8_0-arrays/model.gguf");  // with a vocabulary, a small one
  std::string text_;
};

TEST_F(EvalCommandTest, PrintsTheLogProbabilitiesOfTheText) {
  const Outcome outcome = RunCarat({"eval", kModel, "--logprobs", text_, "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = ParseJson(outcome.out, "the answer");
  ASSERT_TRUE(json) << json.error().message;
  const auto tokens = json->at("tokens").get<std::vector<TokenId>>();
  const auto log_probs = json->at("log_probs").get<std::vector<double>>();

  const auto engine = Engine::Load(kModel);
  ASSERT_TRUE(engine) << engine.error().message;
  auto expected = (*engine)->Tokenize(kText);
  ASSERT_TRUE(expected);
  expected->insert(expected->begin(), (*engine)->bos_id());
  ASSERT_EQ(tokens, *expected);
  ASSERT_EQ(log_probs.size(), tokens.size() - 1);

  // One token at a time, the plain way.
  auto session = Session::Create(*engine);
  ASSERT_TRUE(session);
  double total = 0;
  for (size_t i = 0; i < log_probs.size(); ++i) {
    ASSERT_TRUE(session->Append({&tokens[i], 1}));
    const std::span<const float> logits = *session->Logits();
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    const double log_prob = double{logits[static_cast<size_t>(tokens[i + 1])]} - std::log(sum);
    EXPECT_NEAR(log_probs[i], log_prob, 1e-9) << i;
    total += log_prob;
  }
  const double mean = total / static_cast<double>(log_probs.size());
  EXPECT_NEAR(json->at("mean_log_prob").get<double>(), mean, 1e-9);
  EXPECT_NEAR(json->at("perplexity").get<double>(), std::exp(-mean), 1e-6);
}

TEST_F(EvalCommandTest, PrintsALineForEveryTokenAndASummary) {
  const Outcome outcome = RunCarat({"eval", kModel, "--logprobs", "-"}, {.input = kText});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_NE(outcome.out.find(" \"\\n\"\n"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find(" tokens predicted, perplexity "), std::string::npos) << outcome.out;
}

TEST_F(EvalCommandTest, ExactIsAnotherPath) {
  const Outcome normal = RunCarat({"eval", kModel, "--logprobs", text_, "--json"});
  const Outcome exact = RunCarat({"eval", kModel, "--logprobs", text_, "--json", "--exact"});
  EXPECT_EQ(exact.exit_code, 0);
  EXPECT_NE(exact.out, normal.out);
}

TEST_F(EvalCommandTest, OptionsComeFromTheEnvironmentToo) {
  const std::vector<std::string> arguments = {"eval", kModel, "--logprobs", text_};
  const auto run = [&](const std::string& name, const std::string& value) {
    return RunCarat(arguments, {.environment = {{name, value}}});
  };
  const std::string plain = RunCarat(arguments).out;
  EXPECT_EQ(run("CARAT_THREADS", "1").out, plain);
  EXPECT_TRUE(FailsWith(run("CARAT_THREADS", "x"), 2, "x"));
  EXPECT_TRUE(FailsWith(run("CARAT_CPU", "abacus"), 2, "there are no kernels called 'abacus'"));
  EXPECT_NE(run("CARAT_EXACT", "1").out, plain);
  EXPECT_TRUE(run("CARAT_JSON", "1").out.starts_with("{"));
  EXPECT_EQ(RunCarat({"eval", "--logprobs", text_}, {.environment = {{"CARAT_MODEL", kModel}}}).out, plain);
  EXPECT_EQ(RunCarat({"eval", kModel}, {.environment = {{"CARAT_LOGPROBS", text_}}}).out, plain);
}

TEST_F(EvalCommandTest, Mistakes) {
  const auto run = [&](const std::string& model, const std::string& text) {
    return RunCarat({"eval", model, "--logprobs", text});
  };
  EXPECT_TRUE(FailsWith(RunCarat({"eval", kModel}), 2, "--logprobs"));
  EXPECT_TRUE(FailsWith(RunCarat({"eval", kModel, "--logprobs", text_, "--dance"}), 2, "(see carat eval --help)"));
  EXPECT_TRUE(FailsWith(run(kModel, Path("none")), 2, "cannot open " + Path("none")));
  EXPECT_TRUE(FailsWith(run(kModel, Path("")), 2, "is it a folder?"));
  EXPECT_TRUE(FailsWith(run(kModel, Write("empty", "")), 2, "there is no text to predict"));
  EXPECT_TRUE(FailsWith(run(Data("golden/hf-e2b/model"), text_), 2, "the checkpoint has no tokenizer"));
  EXPECT_TRUE(FailsWith(run(Path("none.gguf"), text_), 3, "none.gguf"));
  EXPECT_TRUE(FailsWith(run(Write("bad.gguf", "GGUF and nothing more"), text_), 4, "bad.gguf"));
  EXPECT_TRUE(
      FailsWith(run(kModel, Write("long", std::string(3000, 'a') + std::string(3000, 'b'))), 6, "512 positions"));
  EXPECT_TRUE(FailsWith(RunCarat({"eval", kModel, "--logprobs", text_}, {.stdout_path = "/dev/full"}), 1,
                        "cannot write to standard output"));
}

}  // namespace
}  // namespace carat::testing_support
