#include "cli/typed_media.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace carat::cli {
namespace {

constexpr std::string_view kBlanks = " \t\n";
constexpr std::string_view kFileScheme = "file://";

// The end of the word that begins `text`: the next blank that is neither quoted nor behind a backslash.
size_t EndOfWord(std::string_view text) {
  const char quote = text.front() == '\'' || text.front() == '"' ? text.front() : '\0';
  if (quote != '\0') {
    const size_t closing = text.find(quote, 1);
    if (closing != text.npos && (closing + 1 == text.size() || kBlanks.contains(text[closing + 1]))) return closing + 1;
  }
  size_t end = 0;
  while (end < text.size() && !kBlanks.contains(text[end])) end += text[end] == '\\' && end + 1 < text.size() ? 2 : 1;
  return end;
}

// "%20" becomes a space; what is no such number stays.
std::string WithoutPercents(std::string_view url) {
  std::string out;
  for (size_t i = 0; i < url.size(); ++i) {
    unsigned value = 0;
    const char* const digits = url.data() + i + 1;
    if (url[i] == '%' && i + 2 < url.size() && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += url[i];
    }
  }
  return out;
}

std::optional<Medium> MediumOfWord(std::string_view word) {
  if (word.find_first_of("/.") == word.npos) return std::nullopt;
  return RecogniseFile(TypedPath(word));  // none: a text, say, that the message is about
}

}  // namespace

std::string TypedPath(std::string_view word) {
  if (word.size() >= 2 && (word.front() == '\'' || word.front() == '"') && word.back() == word.front())
    return std::string(word.substr(1, word.size() - 2));
  if (word.starts_with(kFileScheme)) return WithoutPercents(word.substr(kFileScheme.size()));
  std::string path;
  for (size_t i = 0; i < word.size(); ++i) {
    if (word[i] == '\\' && i + 1 < word.size()) ++i;
    path += word[i];
  }
  return path;
}

std::vector<Medium> TakeMedia(std::string& message) {
  std::vector<Medium> media;
  std::string rest;
  for (std::string_view text = message; !text.empty();) {
    const size_t end =
        kBlanks.contains(text.front()) ? std::min(text.find_first_not_of(kBlanks), text.size()) : EndOfWord(text);
    const std::string_view piece = text.substr(0, end);
    text.remove_prefix(end);
    if (auto medium = MediumOfWord(piece)) {
      media.push_back(*std::move(medium));
    } else {
      rest += piece;
    }
  }
  if (!media.empty()) message = std::move(rest);
  return media;
}

}  // namespace carat::cli
