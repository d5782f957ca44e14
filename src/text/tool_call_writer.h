// Writes the JSON of arguments while they are read.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace carat::text {

// Whether `text` is a number as JSON writes them, within a double's range.
bool IsJsonNumber(std::string_view text);

// Whoever writes keeps to the order: one value, or one object or list with balanced Begin and End; a Key before each
// member.
class ArgumentsWriter {
 public:
  void BeginObject() { Begin('{', '}'); }
  void BeginList() { Begin('[', ']'); }
  void End();
  // The next value is the member `key`. If the object has it already, that value is left out: the first one counts.
  void Key(std::string_view key);
  void String(std::string_view text);
  void Literal(std::string_view json);  // a number, true, false or null

  int depth() const { return static_cast<int>(open_.size()); }
  std::string Take() { return std::move(json_); }

 private:
  struct Level {
    char close;
    bool empty = true;
    bool repeated = false;    // the current member's key was there before
    size_t member_start = 0;  // in json_, of the current member with its comma
    std::unordered_set<std::string> keys;
  };
  void Begin(char open, char close);
  void BeforeValue();
  void AfterValue();
  void AppendString(std::string_view text);

  std::string json_;
  std::vector<Level> open_;
};

}  // namespace carat::text
