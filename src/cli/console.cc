#include "cli/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/try.h"

namespace carat::cli {
namespace {

// The one piece of state that cannot be passed down: a signal handler has no argument to carry it.
volatile sig_atomic_t interrupt_count = 0;

void OnInterrupt(int) {
  interrupt_count = interrupt_count + 1;
  if (interrupt_count >= 2) _exit(static_cast<int>(ErrorCode::kInterrupted));
}

// A descriptor that the caller closed would be given to the next file that is opened, and an answer would be written
// into a model. Stand-ins keep the numbers 0 to 2 taken; they are read-only, so that writing to them is the error that
// it should be.
void FillClosedStreams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF && open("/dev/null", O_RDONLY) != fd) _exit(1);
  }
}

bool WriteTo(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

std::string WithoutControls(std::string_view text, bool lines) {
  std::string clean;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && !(lines && (c == '\n' || c == '\t'))) || c == 0x7f) {
      if (!lines) clean += ' ';
      continue;
    }
    // U+0080 to U+009F are controls too: some terminals take U+009B for ESC [.
    if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      ++i;
      continue;
    }
    clean += static_cast<char>(c);
  }
  return clean;
}

Console::Console() {
  FillClosedStreams();
  stdin_is_terminal_ = isatty(STDIN_FILENO) == 1;
  stdout_is_terminal_ = isatty(STDOUT_FILENO) == 1;
  stderr_is_terminal_ = isatty(STDERR_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  colours_ = stderr_is_terminal_ && (no_color == nullptr || *no_color == '\0');
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;  // without SA_RESTART: a read that waits for the user returns
  sigaction(SIGINT, &action, nullptr);
}

Status Console::Write(std::string_view text) {
  if (WriteTo(STDOUT_FILENO, text)) return {};
  return Fail(ErrorCode::kFailure, fmt::format("cannot write to standard output: {}", std::strerror(errno)));
}

Status Console::WriteUntrusted(std::string_view text) {
  return stdout_is_terminal_ ? Write(WithoutControls(text, true)) : Write(text);
}

void Console::Note(std::string_view text) { WriteTo(STDERR_FILENO, text); }

void Console::NoteUntrusted(std::string_view text) {
  if (stderr_is_terminal_) {
    Note(WithoutControls(text, true));
  } else {
    Note(text);
  }
}

Result<size_t> Console::ReadSome(std::span<char> buffer) {
  while (true) {
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EINTR && !interrupted()) continue;
    if (errno == EINTR) return Fail(ErrorCode::kInterrupted, "interrupted");
    return Fail(ErrorCode::kFailure, fmt::format("cannot read standard input: {}", std::strerror(errno)));
  }
}

Result<std::string> Console::ReadAll(size_t most) {
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    TRY_ASSIGN(const size_t n, ReadSome(buffer));
    if (n == 0) return text;
    text.append(buffer.data(), n);
    if (text.size() > most)
      return Fail(ErrorCode::kUsage, fmt::format("standard input has more than {} bytes; name a file instead", most));
  }
}

Result<bool> Console::ReadLine(std::string& line) {
  std::array<char, 65536> buffer;
  size_t searched = read_ahead_used_;
  while (true) {
    const size_t end = read_ahead_.find('\n', searched);
    if (end != std::string::npos) {
      line.assign(read_ahead_, read_ahead_used_, end - read_ahead_used_);
      read_ahead_used_ = end + 1;
      return true;
    }
    read_ahead_.erase(0, read_ahead_used_);
    read_ahead_used_ = 0;
    searched = read_ahead_.size();
    TRY_ASSIGN(const size_t n, ReadSome(buffer));
    if (n == 0) {
      line = std::move(read_ahead_);
      read_ahead_.clear();
      return !line.empty();
    }
    read_ahead_.append(buffer.data(), n);
  }
}

ProgressCallback Console::Progress() {
  return [this](const carat::Progress& progress) { return DrawProgress(progress); };
}

bool Console::DrawProgress(const carat::Progress& progress) {
  if (interrupted()) {
    if (bar_visible_) Note("\r\033[K");
    bar_visible_ = false;
    return false;
  }
  if (!stderr_is_terminal_ || progress.total == 0) return true;
  const auto now = std::chrono::steady_clock::now();
  if (bar_stage_ != progress.stage) {
    bar_stage_ = progress.stage;
    bar_started_ = now;
  }
  if (progress.done >= progress.total) {
    if (bar_visible_) Note("\r\033[K");
    bar_visible_ = false;
    bar_stage_.clear();
    return true;
  }
  // Work that is done in a moment should not flicker (only long prompts report at all), and drawing should cost
  // nothing.
  using std::chrono::milliseconds;
  if (progress.stage != "prefill" && now - bar_started_ < milliseconds(300)) return true;
  if (bar_visible_ && now - bar_drawn_ < milliseconds(100)) return true;
  constexpr int kWidth = 30;
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  const int filled = static_cast<int>(share * kWidth);
  const std::string_view label = progress.stage == "load"      ? "loading"
                                 : progress.stage == "encode"  ? "looking"
                                 : progress.stage == "prefill" ? "reading"
                                                               : progress.stage;
  Note(fmt::format("\r\033[K{}{:<8} [{:█<{}}{:·<{}}] {:3.0f} %{}", dim(), label, "", filled, "", kWidth - filled,
                   share * 100, plain()));
  bar_visible_ = true;
  bar_drawn_ = now;
  return true;
}

bool Console::interrupted() const { return interrupt_count > 0; }

void Console::ClearInterrupt() { interrupt_count = 0; }

}  // namespace carat::cli
