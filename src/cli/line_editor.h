// Lines typed on a terminal, with editing and a history that lasts as long as the program.
#pragma once

#include <histedit.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "carat/result.h"
#include "cli/console.h"

namespace carat::cli {

class LineEditor {
 public:
  enum class Outcome {
    kLine,
    kInterrupted,  // Ctrl-C: what was typed is forgotten
    kEnd           // Ctrl-D on an empty line
  };

  // Talks to the terminal itself, whatever stdout and stderr are connected to. `console` must outlive this. Error:
  // kFailure.
  static Result<std::unique_ptr<LineEditor>> Create(Console& console);
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;
  ~LineEditor();

  // Reads one line, in UTF-8 and without its end. It holds line ends itself only if it was pasted or recalled.
  Outcome Read(std::string_view prompt, std::string& line);
  // Adds to what the arrow keys bring back. May hold several lines.
  void Remember(const std::string& entry);

 private:
  explicit LineEditor(Console& console) : console_(console) {}
  static LineEditor& Of(EditLine* edit);
  static wchar_t* Prompt(EditLine* edit);
  static int ReadCharacter(EditLine* edit, wchar_t* character);
  static unsigned char Paste(EditLine* edit, wint_t key);
  void Send(std::string_view sequence);
  int ReadByte(unsigned char& byte);  // 1, 0 at the end, -1 on an error or Ctrl-C

  Console& console_;
  std::FILE* terminal_ = nullptr;
  EditLine* edit_ = nullptr;
  HistoryW* history_ = nullptr;
  std::wstring prompt_;
  bool interrupted_ = false;
};

}  // namespace carat::cli
