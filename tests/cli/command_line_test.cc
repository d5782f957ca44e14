// What holds for every command: help, usage errors, options from the environment, streams that are closed.
#include "base/json.h"
#include "tests/cli/command.h"

namespace carat::testing_support {
namespace {

TEST(CommandLineTest, HelpAndVersionGoToStdout) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"doctor", "--help"}, {"--version"}}) {
    const Outcome outcome = RunCarat(arguments);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_NE(outcome.out.find("carat"), std::string::npos);
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(CommandLineTest, NothingToDoIsAUsageError) {
  const Outcome outcome = RunCarat({});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("doctor"), std::string::npos);  // the help names the commands
}

TEST(CommandLineTest, UnknownWordsAreUsageErrors) {
  EXPECT_TRUE(FailsWith(RunCarat({"dance"}), 2, "dance"));
  EXPECT_TRUE(FailsWith(RunCarat({"doctor", "--dance"}), 2, "--dance (see carat doctor --help)"));
}

TEST(CommandLineTest, AnOptionMayComeFromTheEnvironment) {
  const Outcome outcome = RunCarat({"doctor"}, {.environment = {{"CARAT_JSON", "1"}}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto report = ParseJson(outcome.out, "the report");
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->contains("kernels_chosen"));
}

TEST(CommandLineTest, AnswersThatCannotBeWrittenAreErrors) {
  EXPECT_TRUE(FailsWith(RunCarat({"doctor"}, {.stdout_closed = true}), 1, "cannot write to standard output"));
  EXPECT_TRUE(FailsWith(RunCarat({"doctor"}, {.stdout_path = "/dev/full"}), 1, "cannot write to standard output"));
}

}  // namespace
}  // namespace carat::testing_support
