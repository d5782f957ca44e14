// Runs the built `carat` on a terminal of its own: keys in, all that it shows out.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace carat::testing_support {

class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();  // ends the command if it runs

  void Type(std::string_view keys);
  // Waits until `text` shows up behind what was waited for before. What came up to its end; empty if it did not come.
  std::string WaitFor(std::string_view text);
  // Waits for the end of the command; as Outcome::exit_code.
  int Wait();
  // All that was shown, escape sequences included.
  const std::string& shown() const { return shown_; }

 private:
  bool ReadMore();  // false at the end

  int fd_ = -1;
  pid_t child_ = -1;
  std::string shown_;
  size_t seen_ = 0;  // of shown_, what was waited for
};

}  // namespace carat::testing_support
