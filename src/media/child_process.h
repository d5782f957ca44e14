// A command that runs beside Carat, whose output is read as it comes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "carat/result.h"

namespace carat::media {

// A file descriptor, closed with its owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { Close(); }

  int fd() const { return fd_; }  // -1: none
  void Close();

 private:
  int fd_ = -1;
};

struct ChildLimits {
  double seconds = 60;                        // from its start to its end
  uint64_t output_bytes = uint64_t{1} << 30;  // on stdout
};

// Errors are kBadMedia and begin with the name of the command, unless stated otherwise. Used by one thread at a time;
// the thread that started the child must outlive it, for Linux counts it as the parent.
class ChildProcess {
 public:
  // Runs arguments[0], looked up in PATH, with the others as they stand: no shell sees them. stdin is empty; `input`,
  // where there is one, is its descriptor number kInput. Errors: kNotFound if there is no such command; kFailure.
  static Result<std::unique_ptr<ChildProcess>> Start(const std::vector<std::string>& arguments,
                                                     const ChildLimits& limits, int input = -1);
  static constexpr int kInput = 3;

  // However it is left: the child is dead and buried.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Fills `out` from its stdout and returns how many bytes came: fewer than asked for only at the end.
  // Errors: the time or the output is more than the limits allow.
  Result<size_t> Read(std::span<std::byte> out);
  // Waits for its end; after all output was read. Errors: it took too long; it failed, with the last lines that it
  // wrote to stderr; kInterrupted, if Ctrl-C ended it.
  Status Finish();
  // The last lines that it wrote to stderr so far, whether it failed or not. Empty: none.
  std::string Complaints() const;

 private:
  ChildProcess(std::string name, const ChildLimits& limits);
  Status WaitForOutput();
  void ReadErrors();
  Status FailedWith(int status) const;
  std::unexpected<Error> TooSlow() const;
  int MillisecondsLeft() const;

  std::string name_;
  ChildLimits limits_;
  std::chrono::steady_clock::time_point deadline_;
  pid_t pid_ = -1;  // -1 when it is no longer there
  Descriptor output_, errors_;
  uint64_t output_bytes_ = 0;
  std::string error_text_;  // the end of it
};

}  // namespace carat::media
