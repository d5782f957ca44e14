#include "tests/cli/command.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <thread>

namespace carat::testing_support {
namespace {

constexpr auto kLongestRun = std::chrono::minutes(4);

// Streams are files, not pipes: nothing can block, and the command may leave its stdin unread.
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

std::string ReadFromStart(std::FILE* file) {
  std::fseek(file, 0, SEEK_SET);
  std::string text;
  char buffer[65536];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, n);
  return text;
}

std::vector<std::string> Environment(const Surroundings& surroundings) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (text.starts_with("PATH=") || text.find("SAN_OPTIONS=") != text.npos || text.starts_with("QEMU_"))
      entries.emplace_back(text);
  }
  for (const auto& [name, value] : surroundings.environment)
    entries.push_back(std::string(name).append("=").append(value));
  return entries;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// In the child: becomes the command. Only calls that are safe after fork.
[[noreturn]] void Become(char** arguments, char** environment, const int (&streams)[3], bool stdout_closed) {
  for (int fd = 0; fd < 3; ++fd) dup2(streams[fd], fd);
  if (stdout_closed) close(STDOUT_FILENO);
  execve(arguments[0], arguments, environment);
  _exit(127);
}

int WaitFor(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + kLongestRun;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (std::chrono::steady_clock::now() < deadline) continue;
    ADD_FAILURE() << "the command did not end";
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    break;
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Outcome RunCarat(const std::vector<std::string>& arguments, const Surroundings& surroundings) {
  const File in(std::tmpfile()), err(std::tmpfile());
  const File out(surroundings.stdout_path.empty() ? std::tmpfile() : std::fopen(surroundings.stdout_path.c_str(), "w"));
  if (!in || !out || !err) {
    ADD_FAILURE() << "cannot make the files that stand for the streams of the command";
    return {};
  }
  std::fwrite(surroundings.input.data(), 1, surroundings.input.size(), in.get());
  std::fseek(in.get(), 0, SEEK_SET);

  std::vector<std::string> words = {CARAT_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = Environment(surroundings);
  const std::vector<char*> word_pointers = Pointers(words), environment_pointers = Pointers(environment);
  const int streams[3] = {fileno(in.get()), fileno(out.get()), fileno(err.get())};
  const pid_t child = fork();
  if (child == 0) {
    Become(const_cast<char**>(word_pointers.data()), const_cast<char**>(environment_pointers.data()), streams,
           surroundings.stdout_closed);
  }
  if (child < 0) {
    ADD_FAILURE() << "cannot start " << CARAT_COMMAND;
    return {};
  }
  Outcome outcome;
  outcome.exit_code = WaitFor(child);
  if (surroundings.stdout_path.empty()) outcome.out = ReadFromStart(out.get());
  outcome.err = ReadFromStart(err.get());
  return outcome;
}

testing::AssertionResult FailsWith(const Outcome& outcome, int exit_code, std::string_view words) {
  const auto lines = std::count(outcome.err.begin(), outcome.err.end(), '\n');
  if (outcome.exit_code == exit_code && lines == 1 && outcome.err.starts_with("carat: ") &&
      outcome.err.find(words) != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "expected exit code " << exit_code << " and one line with \"" << words
                                     << "\"; got exit code " << outcome.exit_code << " and " << lines << " lines:\n"
                                     << outcome.err;
}

void CommandTest::SetUp() {
  std::string name = testing::TempDir() + "/carat_command_XXXXXX";
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  folder_ = name;
}

void CommandTest::TearDown() {
  if (!folder_.empty()) std::filesystem::remove_all(folder_);
}

std::string CommandTest::Write(const std::string& name, std::string_view content) const {
  std::ofstream(folder_ / name, std::ios::binary) << content;
  return Path(name);
}

std::string CommandTest::Read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string CommandTest::Data(const std::string& name) { return std::string(CARAT_SOURCE_DIR) + "/tests/data/" + name; }

}  // namespace carat::testing_support
