// Errors as values. Every fallible call of Carat returns a Result; exceptions do not cross its interfaces.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace carat {

// What went wrong, by who can do something about it. The numbers are the exit codes of the `carat` command.
enum class ErrorCode : int {
  kFailure = 1,     // anything else
  kUsage = 2,       // the caller asked for something that makes no sense
  kNotFound = 3,    // no such model
  kBadModel = 4,    // a model file is damaged, incomplete, or of a kind that Carat does not run
  kBadMedia = 5,    // an image, clip or video cannot be decoded
  kDoesNotFit = 6,  // context or memory is too small
  kNetwork = 7,
  kInterrupted = 130  // cancelled by the user
};

struct Error {
  ErrorCode code = ErrorCode::kFailure;
  std::string message;  // one line, without a full stop: what was wrong, where, and what would work
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// What a message quotes may come from a file: control characters in it become spaces, so that it stays one line.
[[nodiscard]] inline std::unexpected<Error> Fail(ErrorCode code, std::string message) {
  for (char& c : message)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return std::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace carat
