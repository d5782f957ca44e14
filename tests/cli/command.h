// Runs the built `carat` as a user would: arguments, environment and stdin in; exit code, stdout and stderr out.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace carat::testing_support {

struct Outcome {
  int exit_code = -1;  // 128 + N if signal N ended the process, as shells have it
  std::string out = {};
  std::string err = {};
};

// What surrounds a run. Nothing of this process's environment is passed on but what a sanitizer or an emulator needs.
struct Surroundings {
  std::string input = {};  // all of stdin
  std::map<std::string, std::string> environment = {};
  bool stdout_closed = false;
  std::string stdout_path = {};  // where stdout goes, instead of Outcome::out
};

// Waits for the end of the command. A command that takes minutes is killed, and the test fails.
Outcome RunCarat(const std::vector<std::string>& arguments, const Surroundings& surroundings = {});

// The one line that a command says on stderr when it fails.
testing::AssertionResult FailsWith(const Outcome& outcome, int exit_code, std::string_view words);

// A test that has a folder of its own.
class CommandTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A file in the folder; its path.
  std::string Write(const std::string& name, std::string_view content) const;
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string Read(const std::filesystem::path& path);
  // A file or folder of tests/data.
  static std::string Data(const std::string& name);

 private:
  std::filesystem::path folder_;
};

}  // namespace carat::testing_support
