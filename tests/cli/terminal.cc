#include "tests/cli/terminal.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <utility>

namespace carat::testing_support {
namespace {

constexpr int kLongestWaitMs = 200000;

}  // namespace

Terminal::Terminal(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {CARAT_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const winsize size = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  child_ = forkpty(&fd_, nullptr, nullptr, &size);
  if (child_ == 0) {
    setenv("TERM", "xterm", 1);
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  EXPECT_GE(child_, 0);
}

Terminal::~Terminal() {
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  if (fd_ >= 0) close(fd_);
}

void Terminal::Type(std::string_view keys) {
  while (!keys.empty()) {
    const ssize_t n = write(fd_, keys.data(), keys.size());
    if (n <= 0) {
      ADD_FAILURE() << "the command takes no keys";
      return;
    }
    keys.remove_prefix(static_cast<size_t>(n));
  }
}

bool Terminal::ReadMore() {
  pollfd ready = {.fd = fd_, .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, kLongestWaitMs) <= 0) return false;
  char buffer[4096];
  const ssize_t n = read(fd_, buffer, sizeof buffer);  // an error once the command has ended
  if (n <= 0) return false;
  shown_.append(buffer, static_cast<size_t>(n));
  return true;
}

std::string Terminal::WaitFor(std::string_view text) {
  do {
    const size_t found = shown_.find(text, seen_);
    if (found != std::string::npos) {
      const size_t begin = std::exchange(seen_, found + text.size());
      return shown_.substr(begin, seen_ - begin);
    }
  } while (ReadMore());
  ADD_FAILURE() << "'" << text << "' was not shown, but: " << shown_.substr(seen_);
  return "";
}

int Terminal::Wait() {
  while (ReadMore()) continue;
  int status = 0;
  waitpid(std::exchange(child_, -1), &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace carat::testing_support
