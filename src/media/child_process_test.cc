#include "media/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace carat::media {
namespace {

using Clock = std::chrono::steady_clock;

Result<std::unique_ptr<ChildProcess>> Shell(const std::string& script, const ChildLimits& limits = {}, int input = -1) {
  return ChildProcess::Start({"sh", "-c", script}, limits, input);
}

// All that it writes, or the error.
Result<std::string> OutputOf(ChildProcess& child) {
  std::string text(1 << 20, '\0');
  const Result<size_t> got = child.Read(std::as_writable_bytes(std::span(text)));
  if (!got) return std::unexpected(got.error());
  text.resize(*got);
  return text;
}

std::string FaultOf(const std::string& script, const ChildLimits& limits = {}) {
  const auto child = Shell(script, limits);
  if (!child) return child.error().message;
  const auto output = OutputOf(**child);
  if (!output) return output.error().message;
  const Status finished = (*child)->Finish();
  return finished ? "" : finished.error().message;
}

bool Exists(pid_t pid) { return ::kill(pid, 0) == 0; }

TEST(ChildProcess, HandsOverItsOutputInPieces) {
  const auto child = Shell("echo one; sleep 0.05; echo two");
  ASSERT_TRUE(child) << child.error().message;
  std::array<char, 5> piece{};
  ASSERT_EQ((*child)->Read(std::as_writable_bytes(std::span(piece))), 5u);
  EXPECT_EQ(std::string_view(piece.data(), 5), "one\nt");
  ASSERT_EQ((*child)->Read(std::as_writable_bytes(std::span(piece))), 3u);
  EXPECT_EQ(std::string_view(piece.data(), 3), "wo\n");
  EXPECT_EQ((*child)->Read(std::as_writable_bytes(std::span(piece))), 0u);
  EXPECT_TRUE((*child)->Finish());
}

TEST(ChildProcess, GivesArgumentsAsTheyStand) {
  const auto child = ChildProcess::Start({"printf", "%s|", "two words", "$HOME", "; exit 1", "", "-x"}, {});
  ASSERT_TRUE(child) << child.error().message;
  EXPECT_EQ(OutputOf(**child), "two words|$HOME|; exit 1||-x|");
}

TEST(ChildProcess, HasNoStdinAndOnlyTheDescriptorItIsGiven) {
  const auto path = std::filesystem::path(testing::TempDir()) / "child-input";
  std::ofstream(path) << "given";
  const Descriptor given(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // Even one that nobody marked is closed, where the kernel can do that (qemu cannot).
  const bool can_close_all = ::close_range(~0U, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
  const Descriptor other(::open(path.c_str(), O_RDONLY | (can_close_all ? 0 : O_CLOEXEC)));
  const auto child =
      Shell("cat; cat <&3; test -e /proc/$$/fd/" + std::to_string(other.fd()) + " || echo .", {}, given.fd());
  ASSERT_TRUE(child) << child.error().message;
  const auto output = OutputOf(**child);
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(*output, "given.\n");
}

TEST(ChildProcess, SaysWhatItSaidWhenItFailed) {
  EXPECT_EQ(FaultOf("exit 0"), "");
  EXPECT_EQ(FaultOf("exit 3"), "sh: failed with status 3");
  EXPECT_EQ(FaultOf("kill -9 $$"), "sh: was ended by signal 9");
  EXPECT_EQ(
      FaultOf("echo out; echo first >&2; echo '[mov,mp4 @ 0x55] no atom' >&2; echo 'x: bad' >&2; echo >&2; exit 1"),
      "sh: no atom; x: bad");
  EXPECT_EQ(FaultOf("echo same >&2; echo same >&2; exit 1"), "sh: same");
  const auto interrupted = Shell("kill -2 $$");
  ASSERT_TRUE(interrupted);
  const Status status = (*interrupted)->Finish();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kInterrupted);
}

TEST(ChildProcess, IsNotHeldUpByWhatItComplainsOf) {
  // More than a pipe holds, on stderr, while stdout is waited for.
  EXPECT_EQ(FaultOf("head -c 300000 /dev/zero | tr '\\0' 'x' >&2; echo; echo '' >&2; echo last >&2; echo done; exit 1")
                .substr(0, 4),
            "sh: ");
  EXPECT_TRUE(
      FaultOf("head -c 300000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo last >&2; exit 1").ends_with("last"));
}

TEST(ChildProcess, KnowsWhenACommandIsMissing) {
  const auto child = ChildProcess::Start({"no-such-command-as-this"}, {});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(child.error().message, "no-such-command-as-this: not installed");
}

TEST(ChildProcess, IsBoundedInTimeAndOutput) {
  const auto start = Clock::now();
  EXPECT_EQ(FaultOf("sleep 30", {.seconds = 0.2}), "sh: ended, for it took more than 0.2 seconds");
  EXPECT_EQ(FaultOf("exec >&- 2>&-; sleep 30", {.seconds = 0.2}), "sh: ended, for it took more than 0.2 seconds");
  EXPECT_EQ(FaultOf("cat /dev/zero", {.output_bytes = 100'000}), "sh: ended, for it wrote more than 100000 bytes");
  // It keeps writing, so there is always something to read.
  EXPECT_EQ(FaultOf("while :; do echo .; done", {.seconds = 0.2}), "sh: ended, for it took more than 0.2 seconds");
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
}

TEST(ChildProcess, IsGoneWhenItIsLeft) {
  pid_t pid = -1;
  {
    const auto child = Shell("echo $$; exec sleep 30");
    ASSERT_TRUE(child);
    std::string line(16, '\0');
    size_t size = 0;
    while (size == 0 || line[size - 1] != '\n') {
      ASSERT_EQ((*child)->Read(std::as_writable_bytes(std::span(line).subspan(size, 1))), 1u);
      ++size;
    }
    pid = std::stoi(line);
    EXPECT_TRUE(Exists(pid));
  }
  EXPECT_FALSE(Exists(pid));  // not even as a zombie
}

TEST(ChildProcess, DiesWithItsParent) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // so that the orphan becomes ours
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Descriptor read(ends[0]), write(ends[1]);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const auto child = Shell("echo $$; exec sleep 30");
    std::array<char, 1> byte{};
    while (child && (*child)->Read(std::as_writable_bytes(std::span(byte))) == 1u && byte[0] != '\n')
      if (::write(write.fd(), byte.data(), 1) != 1) break;
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_GT(parent, 0);
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
  std::string text(16, '\0');
  ASSERT_GT(::read(read.fd(), text.data(), text.size()), 0);
  const auto start = Clock::now();
  int status = 0;
  ASSERT_EQ(::waitpid(std::stoi(text), &status, 0), std::stoi(text));
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));  // it was not its sleep that ended
}

}  // namespace
}  // namespace carat::media
