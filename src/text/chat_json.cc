#include "text/chat_json.h"

#include <cmath>
#include <set>
#include <utility>
#include <vector>

namespace carat::text {
namespace {

// Marks the binary values that stand for integers.
constexpr uint64_t kBigInteger = 'I';

// Builds the value while the parser reads. Returning false stops the parser; `fault` then says why.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(value); }
  bool number_unsigned(number_unsigned_t value) override { return Put(value); }
  bool number_float(number_float_t value, const string_t& digits) override {
    if (digits.find_first_of(".eE") != digits.npos) return Put(value);
    return Put(Json::binary(std::vector<uint8_t>(digits.begin(), digits.end()), kBigInteger));
  }
  bool string(string_t& value) override { return Put(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // not in JSON text

  bool start_object(size_t) override { return Open(Json::object()); }
  bool key(string_t& key) override {
    if (!open_.back().keys.insert(key).second) {
      fault = "has the key " + Json(key).dump() + " twice in one object";
      return false;
    }
    // Appended rather than looked up: the library's ordered objects search all their members.
    auto& members = static_cast<Json::object_t::Container&>(open_.back().value->get_ref<Json::object_t&>());
    members.emplace_back(std::move(key), Json());
    slot_ = &members.back().second;
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // The library's ids: 101 syntax, 406 a number that is infinite as a double.
    fault =
        error.id == 406 ? "has a number that is too large" : "is not valid JSON at byte " + std::to_string(position);
    return false;
  }

  Json root;
  std::string fault;

 private:
  struct Level {
    Json* value;
    std::set<std::string> keys;  // of an object
  };

  template <typename T>
  bool Put(T&& value) {
    *NextSlot() = std::forward<T>(value);
    return true;
  }
  bool Open(Json value) {
    if (open_.size() == static_cast<size_t>(kMaxChatNesting)) {
      fault = "is nested deeper than " + std::to_string(kMaxChatNesting) + " levels";
      return false;
    }
    Json* slot = NextSlot();
    *slot = std::move(value);
    open_.push_back({slot, {}});
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }
  // Where the next value goes. Pointers stay valid: a list or object grows only after its last element is complete.
  Json* NextSlot() {
    if (open_.empty()) return &root;
    Json& parent = *open_.back().value;
    if (parent.is_object()) return slot_;
    auto& elements = parent.get_ref<Json::array_t&>();
    return &elements.emplace_back();
  }

  std::vector<Level> open_;
  Json* slot_ = nullptr;  // the member whose key was read last
};

void Append(const Json& value, std::string& out) {
  bool first = true;
  if (value.is_object()) {
    out += '{';
    for (const auto& [key, member] : value.get_ref<const Json::object_t&>()) {
      if (!std::exchange(first, false)) out += ',';
      Append(key, out);
      out += ':';
      Append(member, out);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    for (const Json& element : value) {
      if (!std::exchange(first, false)) out += ',';
      Append(element, out);
    }
    out += ']';
  } else if (value.is_binary()) {
    out += BigIntegerDigits(value);
  } else {
    out += JsonText(value);
  }
}

}  // namespace

Result<Json> ParseChatJson(std::string_view text, std::string_view name) {
  Builder builder;
  if (!Json::sax_parse(text, &builder)) return Fail(ErrorCode::kUsage, std::string(name) + ' ' + builder.fault);
  return std::move(builder.root);
}

std::string DumpChatJson(const Json& value) {
  std::string out;
  Append(value, out);
  return out;
}

std::string BigIntegerDigits(const Json& value) {
  const auto& digits = value.get_binary();
  return std::string(digits.begin(), digits.end());
}

}  // namespace carat::text
