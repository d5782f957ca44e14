// A pull parser for large JSON files: nothing is built, strings are views where they have no escapes.
//
// It exists for tokenizer.json (33 MB, 1.3 million strings): nlohmann-json's event parser takes 0.7 s for it, this 0.1
// s. Everything small goes through ParseJson.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"

namespace carat::text {

// Strict JSON (RFC 8259), except that strings are not checked to be UTF-8. Errors: kBadModel, naming the file and the
// byte. After an error the reader must not be used any more.
//
//   TRY(reader.BeginObject());
//   for (std::string_view key;;) {
//     TRY_ASSIGN(const bool more, reader.NextKey(key));
//     if (!more) break;
//     ... one value ...
//   }
class JsonReader {
 public:
  JsonReader(std::string_view text, std::string_view file_name) : text_(text), file_name_(file_name) {}

  enum class Kind { kObject, kArray, kString, kNumber, kTrue, kFalse, kNull, kInvalid };
  Kind Peek();  // of the next value

  Status BeginObject();
  // False at the object's end, which is consumed. The key is valid until the next string is read.
  Result<bool> NextKey(std::string_view& key);
  Status BeginArray();
  Result<bool> NextElement();

  // A view into the text, or, if there were escapes, into the reader: valid until the next string is read.
  Result<std::string_view> String();
  bool last_string_is_copy() const { return last_string_is_copy_; }
  Result<int64_t> Integer(int64_t min, int64_t max);
  Result<bool> Bool();
  // Passes over a value of any kind and gives its text. Only its brackets and strings are checked.
  Result<std::string_view> Raw();
  // Only white space may be left.
  Status End();

  // An error at the current position.
  std::unexpected<Error> Failure(const std::string& what) const;

 private:
  void SkipSpace();
  bool Take(char c);
  Status Unescape(std::string_view body);
  Result<char32_t> HexUnit(std::string_view body, size_t at) const;
  Result<bool> Next(char close);

  std::string_view text_;
  std::string file_name_;
  size_t position_ = 0;
  bool first_ = true;  // nothing has been read in the innermost container
  bool last_string_is_copy_ = false;
  std::string unescaped_;
};

}  // namespace carat::text
