// Values as the chat templates see them. The templates were written for Jinja on top of Python, and what they print in
// corner cases follows from Python's rules for truth, white space, order and the printing of values; these are those
// rules.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "carat/result.h"

namespace carat::text {

// A value of a template: a JSON value, or null where the template has something undefined.
using Value = const Json*;

// `object[key]`. Undefined if there is no such member, or no object.
Value Member(Value object, std::string_view key);

inline bool IsNone(Value value) { return value != nullptr && value->is_null(); }
inline bool IsString(Value value) { return value != nullptr && value->is_string(); }
inline bool IsMapping(Value value) { return value != nullptr && value->is_object(); }
// What `is sequence` is true for; that is more than lists.
inline bool IsSequence(Value value) { return value == nullptr || value->is_structured() || value->is_string(); }
// Whether a string value equals `text`.
inline bool Is(Value value, std::string_view text) {
  return IsString(value) && value->get_ref<const std::string&>() == text;
}

// False for: undefined, null, false, zero, and the empty string, list and object.
bool IsTrue(Value value);

// str(value): strings as they are, 2.0, 1e-07, None, True, ['a', 'b']; nothing for an undefined value.
std::string Print(Value value);

// What a loop over a value visits: the elements of a list, the keys of an object, the characters of a string, nothing
// if the value is undefined. Error: kUsage, naming `what`, for anything else. The value must outlive the result.
class Elements {
 public:
  static Result<Elements> Of(Value value, std::string_view what);
  Elements(Elements&&) = default;  // no copies: values_ points into made_
  Elements& operator=(Elements&&) = default;

  size_t size() const { return values_.size(); }
  Value operator[](size_t i) const { return values_[i]; }
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }

 private:
  Elements() = default;

  std::vector<Json> made_;  // keys and characters; the rest is pointed to where it lies
  std::vector<Value> values_;
};

// The members of an object sorted by their lower-cased keys (members with equal ones keep their order).
struct NamedValue {
  std::string_view key;
  Value value;
};
std::vector<NamedValue> SortedMembers(const Json& object);

// str.strip(): without Unicode white space at both ends.
std::string_view Strip(std::string_view text);
std::string_view StripLeft(std::string_view text);
std::string_view StripRight(std::string_view text);
// str.lower(), for any script. A capital sigma becomes the final form after a letter and before none.
std::string Lower(std::string_view text);
// str.upper() of ASCII letters (the types of JSON Schema); other characters stay.
std::string UpperAscii(std::string text);

// Whether lists and objects are nested at most `limit` deep. Looks no deeper than that.
bool NestedAtMost(const Json& value, int limit);

}  // namespace carat::text
