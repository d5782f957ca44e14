// The process's side of things: its streams, what they are connected to, progress bars, Ctrl-C.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "carat/engine.h"
#include "carat/result.h"

namespace carat::cli {

// One per process, made first thing in main. The answer goes to stdout, all else to stderr.
class Console {
 public:
  Console();

  bool stdin_is_terminal() const { return stdin_is_terminal_; }
  bool stdout_is_terminal() const { return stdout_is_terminal_; }
  bool stderr_is_terminal() const { return stderr_is_terminal_; }

  // To stdout, at once: tokens show as they come. Error (kFailure) if it is closed or full.
  Status Write(std::string_view text);
  // The same for text that a model or a file made: on a terminal its control characters (but newline and tab) are left
  // out, so that it cannot move the cursor, set the title, or worse.
  Status WriteUntrusted(std::string_view text);
  void Note(std::string_view text);           // to stderr, as it is
  void NoteUntrusted(std::string_view text);  // to stderr, without control characters on a terminal

  // Escape sequences for stderr; empty if it is not a terminal (or NO_COLOR is set).
  std::string_view dim() const { return colours_ ? "\033[2m" : ""; }
  std::string_view plain() const { return colours_ ? "\033[0m" : ""; }

  // All of stdin. Error: kInterrupted, kFailure; kUsage if there are more than `most` bytes.
  Result<std::string> ReadAll(size_t most = SIZE_MAX);
  // The next line of stdin, without its end; false at the end of the input. Not to be mixed with ReadAll.
  Result<bool> ReadLine(std::string& line);

  // Draws a bar on stderr if that is a terminal, and cancels when the user pressed Ctrl-C.
  ProgressCallback Progress();

  // Ctrl-C since the last ClearInterrupt. A second one while the first waits to be noticed ends the process.
  bool interrupted() const;
  void ClearInterrupt();

 private:
  Result<size_t> ReadSome(std::span<char> buffer);  // 0 at the end
  bool DrawProgress(const carat::Progress& progress);

  bool stdin_is_terminal_, stdout_is_terminal_, stderr_is_terminal_, colours_;
  std::chrono::steady_clock::time_point bar_started_, bar_drawn_;
  std::string bar_stage_;  // of the bar on the screen; empty: none
  bool bar_visible_ = false;
  std::string read_ahead_;      // what ReadLine has read
  size_t read_ahead_used_ = 0;  // and given out
};

// Text without control characters: "\n" and "\t" stay if `lines`.
std::string WithoutControls(std::string_view text, bool lines);

}  // namespace carat::cli
