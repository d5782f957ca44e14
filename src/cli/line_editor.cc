#include "cli/line_editor.h"

#include <fmt/format.h>
#include <langinfo.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstring>
#include <string_view>

namespace carat::cli {
namespace {

constexpr int kHistoryEntries = 1000;
// A terminal in this mode puts marks around what is pasted, so that its line ends do not send it off in pieces.
constexpr std::string_view kPasteModeOn = "\033[?2004h", kPasteModeOff = "\033[?2004l";
constexpr std::wstring_view kPasteEnd = L"\033[201~";

void OnWake(int) {}  // a signal that only ends the wait for a key

// What is broken stays broken; a conversation takes it for U+FFFD.
std::wstring ToWide(std::string_view text) {
  std::wstring wide;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    wchar_t value = more == 0 ? lead : lead & (0x3f >> more);
    for (; more > 0 && i < text.size(); --more) value = value << 6 | (static_cast<unsigned char>(text[i++]) & 0x3f);
    wide += value;
  }
  return wide;
}

std::string ToUtf8(std::wstring_view wide) {
  std::string text;
  for (const wchar_t value : wide) {
    const int more = value < 0x80 ? 0 : value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
    const int lead = more == 0 ? 0 : 0xf0 << (3 - more) & 0xff;
    text += static_cast<char>(lead | value >> (6 * more));
    for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (value >> (6 * i) & 0x3f));
  }
  return text;
}

// How wide characters are on the screen is a matter of the locale; what they are is not: terminals speak UTF-8.
void UseUtf8Widths() {
  if (std::setlocale(LC_CTYPE, "") == nullptr || std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
}

}  // namespace

Result<std::unique_ptr<LineEditor>> LineEditor::Create(Console& console) {
  UseUtf8Widths();
  std::unique_ptr<LineEditor> editor(new LineEditor(console));
  editor->terminal_ = std::fopen("/dev/tty", "w");
  if (editor->terminal_ == nullptr) {
    return Fail(ErrorCode::kFailure, fmt::format("cannot open the terminal: {}", std::strerror(errno)));
  }
  EditLine* edit = editor->edit_ = el_init("carat", stdin, editor->terminal_, stderr);
  editor->history_ = history_winit();
  if (edit == nullptr || editor->history_ == nullptr) {
    return Fail(ErrorCode::kFailure, "cannot read lines from this terminal");
  }
  HistEventW event = {};
  history_w(editor->history_, &event, H_SETSIZE, kHistoryEntries);
  history_w(editor->history_, &event, H_SETUNIQUE, 1);
  el_wset(edit, EL_CLIENTDATA, editor.get());
  el_wset(edit, EL_EDITOR, L"emacs");
  el_wset(edit, EL_HIST, history_w, editor->history_);
  el_wset(edit, EL_PROMPT, &LineEditor::Prompt);
  el_wset(edit, EL_GETCFN, &LineEditor::ReadCharacter);
  el_wset(edit, EL_ADDFN, L"carat-paste", L"Insert what the terminal pastes", &LineEditor::Paste);
  el_wset(edit, EL_BIND, L"\\e[200~", L"carat-paste", nullptr);
  el_wset(edit, EL_BIND, L"^R", L"em-inc-search-prev", nullptr);
  el_wset(edit, EL_BIND, L"\\e[1~", L"ed-move-to-beg", nullptr);  // Home, End and Delete, as tmux and xterm send them
  el_wset(edit, EL_BIND, L"\\e[4~", L"ed-move-to-end", nullptr);
  el_wset(edit, EL_BIND, L"\\e[3~", L"ed-delete-next-char", nullptr);
  // The size of the window and the state of the terminal may have changed meanwhile.
  struct sigaction action = {};
  action.sa_handler = OnWake;
  sigaction(SIGWINCH, &action, nullptr);
  sigaction(SIGCONT, &action, nullptr);
  return editor;
}

LineEditor::~LineEditor() {
  if (history_ != nullptr) history_wend(history_);
  if (edit_ != nullptr) el_end(edit_);
  if (terminal_ != nullptr) std::fclose(terminal_);
}

LineEditor& LineEditor::Of(EditLine* edit) {
  void* self = nullptr;
  el_wget(edit, EL_CLIENTDATA, &self);
  return *static_cast<LineEditor*>(self);
}

wchar_t* LineEditor::Prompt(EditLine* edit) { return Of(edit).prompt_.data(); }

void LineEditor::Send(std::string_view sequence) {
  std::fwrite(sequence.data(), 1, sequence.size(), terminal_);
  std::fflush(terminal_);
}

int LineEditor::ReadByte(unsigned char& byte) {
  for (;;) {
    if (console_.interrupted()) {
      interrupted_ = true;
      return -1;
    }
    const ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n >= 0 || errno != EINTR) return static_cast<int>(n);
    if (console_.interrupted()) continue;
    el_wset(edit_, EL_PREP_TERM, 1);
    el_resize(edit_);
    Send("\r\033[J");  // where the cursor is now, nobody knows; the line is drawn again from here
    el_wset(edit_, EL_REFRESH);
  }
}

int LineEditor::ReadCharacter(EditLine* edit, wchar_t* character) {
  LineEditor& self = Of(edit);
  unsigned char byte = 0;
  if (const int n = self.ReadByte(byte); n != 1) return n;
  std::string bytes;
  bytes += static_cast<char>(byte);
  const int more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : byte >= 0xc0 ? 1 : 0;
  for (int i = 0; i < more; ++i) {
    if (const int n = self.ReadByte(byte); n != 1) return n;
    bytes += static_cast<char>(byte);
  }
  *character = ToWide(bytes).front();
  return 1;
}

unsigned char LineEditor::Paste(EditLine* edit, wint_t) {
  std::wstring text;
  for (wchar_t character = 0; !text.ends_with(kPasteEnd);) {
    if (el_wgetc(edit, &character) != 1) return CC_EOF;
    text += character;
  }
  text.resize(text.size() - kPasteEnd.size());
  std::wstring clean;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == L'\r') {  // what terminals make of a line end
      clean += L'\n';
      if (i + 1 < text.size() && text[i + 1] == L'\n') ++i;
    } else if (text[i] >= L' ' || text[i] == L'\n' || text[i] == L'\t') {
      clean += text[i];
    }
  }
  return el_winsertstr(edit, clean.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

LineEditor::Outcome LineEditor::Read(std::string_view prompt, std::string& line) {
  prompt_ = ToWide(prompt);
  interrupted_ = false;
  console_.ClearInterrupt();  // a Ctrl-C that came too late to stop anything
  el_resize(edit_);
  // Before anything shows that keys are awaited: libedit would do it when it reads the first, and a Ctrl-D that came
  // sooner would be lost (a terminal that collects lines makes it their end, which later reads as NUL).
  el_wset(edit_, EL_PREP_TERM, 1);
  Send(kPasteModeOn);
  int count = 0;
  const wchar_t* text = el_wgets(edit_, &count);
  Send(kPasteModeOff);
  if (text == nullptr || count <= 0) {
    Send(interrupted_ ? "^C\n" : "\n");
    return interrupted_ ? Outcome::kInterrupted : Outcome::kEnd;
  }
  line = ToUtf8({text, static_cast<size_t>(count)});
  if (line.ends_with('\n')) line.pop_back();
  return Outcome::kLine;
}

void LineEditor::Remember(const std::string& entry) {
  HistEventW event = {};
  history_w(history_, &event, H_ENTER, ToWide(entry).c_str());
}

}  // namespace carat::cli
