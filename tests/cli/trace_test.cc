// carat trace: files in, files and differences out.
#include "engine/trace.h"

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/trace_file.h"
#include "tests/cli/command.h"
#include "tests/support/golden.h"

namespace carat::testing_support {
namespace {

class TraceCommandTest : public CommandTest {
 protected:
  // Writes ids as the only input.
  std::string WriteIds(std::vector<TokenId> ids) {
    const std::vector<TraceTensor> tensors = {
        {.name = "input_ids", .shape = {static_cast<int64_t>(ids.size())}, .values = {}, .ids = std::move(ids)}};
    EXPECT_TRUE(WriteTrace(Path("ids.safetensors"), tensors));
    return Path("ids.safetensors");
  }
  // The dump of the case, with one number changed and its tolerances beside it.
  std::string WriteChangedDump(const std::string& name, float by) {
    auto tensors = ReadTrace(kDump);
    EXPECT_TRUE(tensors);
    for (TraceTensor& tensor : *tensors)
      if (tensor.name == name) tensor.values.at(25) += by;
    EXPECT_TRUE(WriteTrace(Path("changed.safetensors"), *tensors));
    Write("changed.json", Read(Data("golden/hf-e2b/0.json")));
    return Path("changed.safetensors");
  }

  const std::string kModel = Data("golden/hf-e2b/model");
  const std::string kDump = Data("golden/hf-e2b/0.safetensors");  // 13 tokens, hidden 22
};

TEST_F(TraceCommandTest, WritesWhatTheEngineComputes) {
  const Outcome outcome = RunCarat({"trace", kModel, kDump, "-o", Path("out.safetensors"), "--generate", "4"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out + outcome.err, "");
  const auto written = ReadTrace(Path("out.safetensors"));
  ASSERT_TRUE(written) << written.error().message;
  const auto input = ReadTrace(kDump);
  const auto engine = Engine::Load(kModel);
  ASSERT_TRUE(input && engine);
  const auto computed = TraceTokens(*engine, FindTensor(*input, "input_ids")->ids, {.generate = 4});
  ASSERT_TRUE(computed);
  EXPECT_EQ(written->size(), computed->size());
  for (const TraceDifference& difference : CompareTrace(*written, {*computed, {}}))
    EXPECT_TRUE(difference.within) << difference.name << " " << difference.where;
}

TEST_F(TraceCommandTest, ComparesWithAReference) {
  const Outcome outcome = RunCarat({"trace", kModel, kDump, "--compare", kDump, "--exact", "--generate", "16"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  for (const char* name : {"embed ", "ple ", "layer.0 ", "layer.5 ", "final_norm ", "logits ", "greedy_ids "})
    EXPECT_NE(outcome.out.find(name), std::string::npos) << name;
  EXPECT_EQ(outcome.out.find("DIFFERS"), std::string::npos);
}

TEST_F(TraceCommandTest, NamesTheFirstThatDiffers) {
  const std::string changed = WriteChangedDump("layer.3", 0.5f);
  const Outcome outcome = RunCarat({"trace", kModel, kDump, "--compare", changed});
  EXPECT_TRUE(FailsWith(outcome, 1, "layer.3 is the first that differs from " + changed + ": by 0.5, tolerance"));
  EXPECT_NE(outcome.err.find("[1, 3]"), std::string::npos) << outcome.err;
  const size_t line = outcome.out.find("layer.3 ");
  ASSERT_NE(line, std::string::npos);
  EXPECT_NE(outcome.out.substr(line, outcome.out.find('\n', line) - line).find("[1, 3]  DIFFERS"), std::string::npos)
      << outcome.out;
  EXPECT_EQ(outcome.out.find("DIFFERS"), outcome.out.rfind("DIFFERS"));  // no other
}

TEST_F(TraceCommandTest, TheReferenceMayBeOverwritten) {
  const std::string changed = WriteChangedDump("layer.3", 0.5f);
  const std::vector<std::string> arguments = {"trace", kModel, kDump, "--compare", changed, "-o", changed};
  EXPECT_TRUE(FailsWith(RunCarat(arguments), 1, "layer.3 is the first that differs"));
  EXPECT_EQ(RunCarat(arguments).exit_code, 0);
}

TEST_F(TraceCommandTest, ReferencesWithoutTolerancesAreComparedToTheBit) {
  ASSERT_EQ(RunCarat({"trace", kModel, kDump, "-o", Path("one.safetensors"), "--threads", "1"}).exit_code, 0);
  const std::vector<std::string> compare = {"trace", kModel, kDump, "--compare", Path("one.safetensors")};
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--threads", "2"}, {"--chunk", "5"}, {"--shortcut"}, {"--cpu", "scalar"}}) {
    std::vector<std::string> arguments = compare;
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = RunCarat(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << more.front() << ": " << outcome.out << outcome.err;
    EXPECT_EQ(outcome.err,
              "carat: there are no tolerances (" + Path("one.json") + " is missing): nothing may differ by a bit\n");
  }
}

TEST_F(TraceCommandTest, TheShortcutLeavesOutWhatItDoesNotCompute) {
  ASSERT_EQ(RunCarat({"trace", kModel, kDump, "-o", Path("out.safetensors"), "--shortcut"}).exit_code, 0);
  const auto trace = ReadTrace(Path("out.safetensors"));
  ASSERT_TRUE(trace);
  EXPECT_EQ(FindTensor(*trace, "ple"), nullptr);
  EXPECT_EQ(FindTensor(*trace, "layer.1")->shape[0], 13);
  EXPECT_EQ(FindTensor(*trace, "layer.5")->shape[0], 1);
}

TEST_F(TraceCommandTest, ExactIsAnotherPathForQuantisedWeights) {
  const std::string model = Data("golden/gguf-q8_0-arrays/model.gguf");
  const std::string dump = Data("golden/gguf-q8_0-arrays/0.safetensors");
  EXPECT_EQ(RunCarat({"trace", model, dump, "--compare", dump, "--exact"}).exit_code, 0);
  EXPECT_TRUE(FailsWith(RunCarat({"trace", model, dump, "--compare", dump}), 1, "is the first that differs"));
}

TEST_F(TraceCommandTest, OptionsComeFromTheEnvironmentToo) {
  const auto run = [&](const std::string& name, const std::string& value) {
    return RunCarat({"trace", kModel, kDump, "-o", Path("out.safetensors")}, {.environment = {{name, value}}});
  };
  EXPECT_TRUE(FailsWith(run("CARAT_THREADS", "2000"), 2, "2000"));
  EXPECT_TRUE(FailsWith(run("CARAT_CPU", "abacus"), 2, "there are no kernels called 'abacus'"));
  EXPECT_TRUE(FailsWith(run("CARAT_CHUNK", "70000"), 2, "70000"));
  EXPECT_TRUE(FailsWith(run("CARAT_GENERATE", "600"), 2, "13 tokens and 600 new ones do not fit"));
  EXPECT_TRUE(FailsWith(run("CARAT_COMPARE", Path("none")), 2, Path("none")));

  EXPECT_EQ(run("CARAT_SHORTCUT", "1").exit_code, 0);
  EXPECT_EQ(FindTensor(*ReadTrace(Path("out.safetensors")), "logits")->shape[0], 1);
  const Outcome outcome = RunCarat({"trace", kModel, kDump}, {.environment = {{"CARAT_OUTPUT", Path("other")}}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(ReadTrace(Path("other")));
  const std::string quantised = Data("golden/gguf-q8_0-arrays/");
  EXPECT_EQ(RunCarat({"trace", quantised + "model.gguf", quantised + "0.safetensors", "--compare",
                      quantised + "0.safetensors"},
                     {.environment = {{"CARAT_EXACT", "1"}}})
                .exit_code,
            0);
}

TEST_F(TraceCommandTest, TheModelMayComeFromTheEnvironment) {
  const std::vector<std::string> arguments = {"trace", kDump, "--compare", kDump, "--exact"};
  EXPECT_EQ(RunCarat(arguments, {.environment = {{"CARAT_MODEL", kModel}}}).exit_code, 0);
  EXPECT_TRUE(FailsWith(RunCarat(arguments), 2, "INPUT is required"));
  EXPECT_TRUE(FailsWith(RunCarat({"trace"}, {.environment = {{"CARAT_MODEL", kModel}}}), 2, "INPUT is required"));
  const Outcome given = RunCarat({"trace", kModel, kDump, "--compare", kDump, "--exact"},
                                 {.environment = {{"CARAT_MODEL", Path("none")}}});
  EXPECT_EQ(given.exit_code, 0) << given.err;
}

TEST_F(TraceCommandTest, MistakesInTheCommandLine) {
  EXPECT_TRUE(FailsWith(RunCarat({"trace", kModel, kDump}), 2, "nothing to do with the trace"));
  EXPECT_TRUE(FailsWith(RunCarat({"trace", kModel}), 2, "INPUT"));
  const auto run = [&](const std::string& model, const std::string& input, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"trace", model, input, "-o", Path("out.safetensors")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCarat(arguments);
  };
  EXPECT_TRUE(FailsWith(run(kModel, kDump, {"--dance"}), 2, "--dance (see carat trace --help)"));
  EXPECT_TRUE(FailsWith(run(kModel, kDump, {"--chunk", "-1"}), 2, "-1"));
  EXPECT_TRUE(FailsWith(run(kModel, Path("none")), 2, Path("none")));
  EXPECT_TRUE(FailsWith(run(kModel, WriteIds({2, 50})), 2, "the token id 50 is outside of the vocabulary of 50"));
  EXPECT_TRUE(FailsWith(run(Path("none"), kDump), 3, Path("none")));
  EXPECT_TRUE(FailsWith(run(Write("bad.gguf", "GGUF and nothing more"), kDump), 4, "bad.gguf"));
  EXPECT_TRUE(FailsWith(run(kModel, Write("bad.safetensors", "no header")), 4, "bad.safetensors"));
}

TEST_F(TraceCommandTest, InputsThatAreNotTokens) {
  const std::vector<TraceTensor> embeddings = {{.name = "embed", .shape = {1, 2}, .values = {1, 2}, .ids = {}}};
  ASSERT_TRUE(WriteTrace(Path("in.safetensors"), embeddings));
  const std::vector<std::string> arguments = {"trace", kModel, Path("in.safetensors"), "-o", Path("out.safetensors")};
  EXPECT_TRUE(FailsWith(RunCarat(arguments), 2, "there is no 'input_ids'"));
  const std::vector<TraceTensor> picture = {{.name = "input_ids", .shape = {2}, .values = {}, .ids = {2, 3}},
                                            {.name = "pixel_values", .shape = {1, 2}, .values = {1, 2}, .ids = {}}};
  ASSERT_TRUE(WriteTrace(Path("in.safetensors"), picture));
  EXPECT_TRUE(FailsWith(RunCarat(arguments), 2, "there is no 'position_ids' to its pixels"));
}

TEST_F(TraceCommandTest, LinksAndDevicesAreNotReplaced) {
  std::filesystem::create_symlink("elsewhere", Path("link"));
  EXPECT_TRUE(FailsWith(RunCarat({"trace", kModel, kDump, "-o", Path("link")}), 2, "not a regular file"));
  EXPECT_TRUE(std::filesystem::is_symlink(Path("link")));
}

TEST_F(TraceCommandTest, AnswersThatCannotBeWritten) {
  const std::vector<std::string> arguments = {"trace", kModel, kDump, "--compare", kDump};
  EXPECT_TRUE(FailsWith(RunCarat(arguments, {.stdout_closed = true}), 1, "cannot write to standard output"));
  EXPECT_TRUE(FailsWith(RunCarat({"trace", kModel, kDump, "-o", Path("no/such/folder")}), 1, "no/such/folder"));
}

}  // namespace
}  // namespace carat::testing_support
