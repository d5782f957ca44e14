#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/try.h"

namespace carat {

namespace {

constexpr size_t kMaxDepth = 32;

// The beginning of a key, for a message; whole characters.
std::string Shortened(const std::string& key) {
  size_t size = std::min<size_t>(key.size(), 80);
  while (size < key.size() && (static_cast<unsigned char>(key[size]) & 0xC0) == 0x80) --size;
  return key.substr(0, size);
}

// Builds the value while the parser reads; says no instead of throwing.
class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(number_integer_t value) { return Add(value); }
  bool number_unsigned(number_unsigned_t value) { return Add(value); }
  bool number_float(number_float_t value, const string_t&) { return Add(value); }
  bool string(string_t& value) { return Add(std::move(value)); }
  bool binary(binary_t&) { return Refuse("binary data"); }
  bool start_object(size_t) { return Open(Json::object()); }
  bool start_array(size_t) { return Open(Json::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  bool key(string_t& name) {
    if (!keys_.back().insert(name).second) return Refuse("the key '" + Shortened(name) + "' occurs twice");
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    // The library's sentence is "[json.exception...] parse error at line 1, column 2: syntax error ...; last read:
    // ...", where what was last read can be any bytes.
    std::string text = error.what();
    text.erase(std::min(text.find("; last read: "), text.size()));
    const size_t at = text.find("] ");
    return Refuse("byte " + std::to_string(position) + ": " + (at == std::string::npos ? text : text.substr(at + 2)));
  }

  Json& root() { return root_; }
  const std::string& fault() const { return fault_; }

 private:
  bool Refuse(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
    std::ranges::replace(fault_, '\n', ' ');
    return false;
  }

  Json* Place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    // emplace() would search the keys before it, once more for each; that they differ is known from keys_.
    auto& members = parent.get_ref<Json::object_t&>();
    static_cast<std::vector<std::pair<const std::string, Json>>&>(members).emplace_back(std::move(key_),
                                                                                        std::move(value));
    return &members.back().second;
  }

  bool Add(Json value) {
    Place(std::move(value));
    return true;
  }

  bool Open(Json value) {
    if (open_.size() >= kMaxDepth) return Refuse("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    open_.push_back(Place(std::move(value)));
    keys_.emplace_back();
    return true;
  }

  bool Close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;  // a child is complete before its parent grows again, so these stay valid
  std::vector<std::set<std::string>> keys_;
  std::string key_;
  std::string fault_;
};

}  // namespace

std::string JsonText(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Result<Json> ParseJson(std::string_view text, std::string_view name, ErrorCode code) {
  Builder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder))
    return Fail(code, std::string(name) + ": not valid JSON: " + builder.fault());
  return std::move(builder.root());
}

namespace {

const Json* Get(const JsonObject& object, std::string_view key) {
  if (object.json == nullptr || !object.json->is_object()) return nullptr;
  const auto it = object.json->find(key);
  return it == object.json->end() || it->is_null() ? nullptr : &*it;
}

std::unexpected<Error> FailKey(const JsonObject& object, std::string_view key, const std::string& what) {
  return Fail(object.code, object.where + ": '" + std::string(key) + "' " + what);
}

Result<const Json*> Require(const JsonObject& object, std::string_view key) {
  const Json* value = Get(object, key);
  if (value == nullptr) return FailKey(object, key, "is missing");
  return value;
}

std::unexpected<Error> FailType(const JsonObject& object, std::string_view key, const char* wanted, const Json& value) {
  return FailKey(object, key, std::string("must be ") + wanted + ", but is of the type " + value.type_name());
}

Result<int64_t> ToInteger(const JsonObject& object, std::string_view key, const Json& value, int64_t min, int64_t max) {
  // 512.0 is how some tools write 512.
  const bool whole = value.is_number_float() && std::abs(value.get<double>()) < 0x1p53 &&
                     value.get<double>() == std::floor(value.get<double>());
  if (!value.is_number_integer() && !whole) return FailType(object, key, "an integer", value);
  const bool too_large =
      value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()};
  const int64_t number = too_large ? std::numeric_limits<int64_t>::max() : value.get<int64_t>();
  if (too_large || number < min || number > max)
    return FailKey(object, key,
                   "is " + value.dump() + ", out of the range " + std::to_string(min) + " to " + std::to_string(max));
  return number;
}

}  // namespace

bool JsonObject::Has(std::string_view key) const { return Get(*this, key) != nullptr; }

Result<JsonObject> JsonObject::Object(std::string_view key) const {
  TRY_ASSIGN(const Json* value, Require(*this, key));
  if (!value->is_object()) return FailType(*this, key, "an object", *value);
  return JsonObject{value, where + ": " + std::string(key), code};
}

Result<std::string> JsonObject::String(std::string_view key) const {
  TRY_ASSIGN(const Json* value, Require(*this, key));
  if (!value->is_string()) return FailType(*this, key, "a string", *value);
  return value->get<std::string>();
}

Result<int64_t> JsonObject::Integer(std::string_view key, int64_t min, int64_t max) const {
  TRY_ASSIGN(const Json* value, Require(*this, key));
  return ToInteger(*this, key, *value, min, max);
}

Result<double> JsonObject::Float(std::string_view key) const {
  TRY_ASSIGN(const Json* value, Require(*this, key));
  if (!value->is_number()) return FailType(*this, key, "a number", *value);
  const double number = value->get<double>();
  if (!std::isfinite(number)) return FailKey(*this, key, "is not finite");
  return number;
}

Result<bool> JsonObject::Bool(std::string_view key) const {
  TRY_ASSIGN(const Json* value, Require(*this, key));
  if (!value->is_boolean()) return FailType(*this, key, "true or false", *value);
  return value->get<bool>();
}

Result<std::vector<int64_t>> JsonObject::Integers(std::string_view key, int64_t min, int64_t max) const {
  TRY_ASSIGN(const Json* value, Require(*this, key));
  std::vector<int64_t> numbers;
  if (!value->is_array()) {
    TRY_ASSIGN(const int64_t number, ToInteger(*this, key, *value, min, max));
    numbers.push_back(number);
    return numbers;
  }
  for (const Json& element : *value) {
    TRY_ASSIGN(const int64_t number, ToInteger(*this, key, element, min, max));
    numbers.push_back(number);
  }
  return numbers;
}

Result<std::vector<std::string>> JsonObject::Strings(std::string_view key) const {
  TRY_ASSIGN(const Json* value, Require(*this, key));
  if (!value->is_array()) return FailType(*this, key, "a list of strings", *value);
  std::vector<std::string> strings;
  for (const Json& element : *value) {
    if (!element.is_string()) return FailType(*this, key, "a list of strings, and an element", element);
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

Result<std::string> JsonObject::StringOr(std::string_view key, std::string fallback) const {
  if (!Has(key)) return fallback;
  return String(key);
}
Result<int64_t> JsonObject::IntegerOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
  if (!Has(key)) return fallback;
  return Integer(key, min, max);
}
Result<double> JsonObject::FloatOr(std::string_view key, double fallback) const {
  if (!Has(key)) return fallback;
  return Float(key);
}
Result<bool> JsonObject::BoolOr(std::string_view key, bool fallback) const {
  if (!Has(key)) return fallback;
  return Bool(key);
}

}  // namespace carat
