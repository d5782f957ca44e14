#include "media/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "base/try.h"

namespace carat::media {

Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Descriptor::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

namespace {

struct Pipe {
  Descriptor read, write;
};

// Our descriptors lie above the numbers that a child gets.
constexpr int kAbove = 10;

// Both ends are closed in every child that does not ask for them.
std::optional<Pipe> MakePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const Descriptor read(ends[0]), write(ends[1]);
  Pipe pipe{.read = Descriptor(::fcntl(read.fd(), F_DUPFD_CLOEXEC, kAbove)),
            .write = Descriptor(::fcntl(write.fd(), F_DUPFD_CLOEXEC, kAbove))};
  if (pipe.read.fd() < 0 || pipe.write.fd() < 0) return std::nullopt;
  return pipe;
}

// What the child is to find, prepared before there is one.
struct Plan {
  std::vector<char*> arguments;
  int input, output, errors;  // descriptors
  int report;                 // errno of a failed exec goes there
  pid_t parent;
};

// Between fork and exec only what is safe in a signal handler: a lock that another thread held is held forever here.
[[noreturn]] void Become(const Plan& plan) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != plan.parent) ::_exit(127);  // the parent ended before that
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(plan.output, STDOUT_FILENO);
  ::dup2(plan.errors, STDERR_FILENO);
  if (plan.input >= 0) ::dup2(plan.input, ChildProcess::kInput);
  // What libraries opened without a thought of children. What is ours closes itself, also on kernels before 5.11.
  ::close_range(plan.input >= 0 ? ChildProcess::kInput + 1 : ChildProcess::kInput, ~0U, CLOSE_RANGE_CLOEXEC);
  ::execvp(plan.arguments[0], plan.arguments.data());
  const int error = errno;
  // Nobody is left to tell if this fails.
  [[maybe_unused]] const ssize_t written = ::write(plan.report, &error, sizeof(error));
  ::_exit(127);
}

// 0 once the child runs its command.
int ErrorOfExec(Descriptor report) {
  int error = 0;
  ssize_t got = -1;
  do got = ::read(report.fd(), &error, sizeof(error));
  while (got < 0 && errno == EINTR);
  return got == sizeof(error) ? error : 0;
}

// The last two lines that say something, without ffmpeg's "[mov,mp4,m4a @ 0x5581...] " before them.
std::string LastLines(std::string text) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < 2) {
    const size_t end = text.find_last_not_of("\n\r ");
    text.resize(end == std::string::npos ? 0 : end + 1);
    const size_t start = text.rfind('\n') + 1;  // 0 if there is none
    std::string line = text.substr(start);
    text.resize(start);
    const size_t tag = line.find("] ");
    if (line.starts_with('[') && tag != std::string::npos) line.erase(0, tag + 2);
    if (!line.empty()) lines.push_back(line);
  }
  if (lines.size() == 2 && lines[1] != lines[0]) return lines[1] + "; " + lines[0];
  return lines.empty() ? "" : lines[0];
}

}  // namespace

ChildProcess::ChildProcess(std::string name, const ChildLimits& limits)
    : name_(std::move(name)),
      limits_(limits),
      deadline_(std::chrono::steady_clock::now() +
                std::chrono::milliseconds(static_cast<int64_t>(limits.seconds * 1e3))) {}

Result<std::unique_ptr<ChildProcess>> ChildProcess::Start(const std::vector<std::string>& arguments,
                                                          const ChildLimits& limits, int input) {
  std::unique_ptr<ChildProcess> child(new ChildProcess(arguments.at(0), limits));
  std::optional<Pipe> output = MakePipe(), errors = MakePipe(), report = MakePipe();
  const Descriptor high_input(input < 0 ? -1 : ::fcntl(input, F_DUPFD_CLOEXEC, kAbove));
  if (!output || !errors || !report || (input >= 0 && high_input.fd() < 0))
    return Fail(ErrorCode::kFailure, child->name_ + ": no pipe for it: " + std::strerror(errno));
  Plan plan{.arguments = {},
            .input = high_input.fd(),
            .output = output->write.fd(),
            .errors = errors->write.fd(),
            .report = report->write.fd(),
            .parent = ::getpid()};
  for (const std::string& argument : arguments) plan.arguments.push_back(const_cast<char*>(argument.c_str()));
  plan.arguments.push_back(nullptr);
  child->pid_ = ::fork();
  if (child->pid_ == 0) Become(plan);
  if (child->pid_ < 0) return Fail(ErrorCode::kFailure, child->name_ + ": cannot be started: " + std::strerror(errno));
  output->write.Close();
  errors->write.Close();
  report->write.Close();
  child->output_ = std::move(output->read);
  child->errors_ = std::move(errors->read);
  for (const int fd : {child->output_.fd(), child->errors_.fd()}) ::fcntl(fd, F_SETFL, O_NONBLOCK);
  const int error = ErrorOfExec(std::move(report->read));
  if (error == ENOENT) return Fail(ErrorCode::kNotFound, child->name_ + ": not installed");
  if (error != 0) return Fail(ErrorCode::kBadMedia, child->name_ + ": cannot be started: " + std::strerror(error));
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

int ChildProcess::MillisecondsLeft() const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1'000'000));
}

std::unexpected<Error> ChildProcess::TooSlow() const {
  std::array<char, 32> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%g", limits_.seconds);
  return Fail(ErrorCode::kBadMedia, name_ + ": ended, for it took more than " + seconds.data() + " seconds");
}

void ChildProcess::ReadErrors() {
  constexpr size_t kKept = 4096;
  std::array<char, 1024> piece;
  const ssize_t got = ::read(errors_.fd(), piece.data(), piece.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) return errors_.Close();
  error_text_.append(piece.data(), static_cast<size_t>(got));
  if (error_text_.size() > kKept) error_text_.erase(0, error_text_.size() - kKept);
}

// Until there is something to read, or an end. Takes in what came on stderr, so that the child never waits for that.
Status ChildProcess::WaitForOutput() {
  std::array<pollfd, 2> sources = {pollfd{.fd = output_.fd(), .events = POLLIN, .revents = 0},
                                   pollfd{.fd = errors_.fd(), .events = POLLIN, .revents = 0}};  // -1 is passed over
  const int left = MillisecondsLeft();
  if (left == 0) return TooSlow();
  if (::poll(sources.data(), sources.size(), left) < 0 && errno != EINTR)
    return Fail(ErrorCode::kFailure, name_ + ": " + std::strerror(errno));
  if (sources[1].revents != 0) ReadErrors();
  return {};
}

Result<size_t> ChildProcess::Read(std::span<std::byte> out) {
  size_t filled = 0;
  while (filled < out.size() && output_.fd() >= 0) {
    const ssize_t got = ::read(output_.fd(), out.data() + filled, out.size() - filled);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      TRY(WaitForOutput());
      continue;
    }
    if (got <= 0) {
      output_.Close();
      break;
    }
    filled += static_cast<size_t>(got);
    output_bytes_ += static_cast<uint64_t>(got);
    if (output_bytes_ > limits_.output_bytes)
      return Fail(ErrorCode::kBadMedia,
                  name_ + ": ended, for it wrote more than " + std::to_string(limits_.output_bytes) + " bytes");
    if (MillisecondsLeft() == 0) return TooSlow();
  }
  return filled;
}

Status ChildProcess::Finish() {
  output_.Close();
  while (errors_.fd() >= 0) TRY(WaitForOutput());
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) break;
    if (ended < 0 && errno != EINTR) return Fail(ErrorCode::kFailure, name_ + ": " + std::strerror(errno));
    if (MillisecondsLeft() == 0) return TooSlow();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // it has closed its output, so it is about to end
  }
  pid_ = -1;
  return FailedWith(status);
}

std::string ChildProcess::Complaints() const { return LastLines(error_text_); }

Status ChildProcess::FailedWith(int status) const {
  constexpr int kStoppedBySignal = 255;  // what ffmpeg returns when it was told to stop
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) ||
      (WIFEXITED(status) && WEXITSTATUS(status) == kStoppedBySignal))
    return Fail(ErrorCode::kInterrupted, name_ + ": interrupted");
  const std::string said = Complaints();
  if (!said.empty()) return Fail(ErrorCode::kBadMedia, name_ + ": " + said);
  const std::string how = WIFSIGNALED(status) ? "was ended by signal " + std::to_string(WTERMSIG(status))
                                              : "failed with status " + std::to_string(WEXITSTATUS(status));
  return Fail(ErrorCode::kBadMedia, name_ + ": " + how);
}

}  // namespace carat::media
