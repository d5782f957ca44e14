#include "text/chat_tools.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/try.h"

namespace carat::text {
namespace {

void WriteString(std::string_view text, SegmentWriter& out) {
  out.Control(kStringQuote);
  out.Text(text);
  out.Control(kStringQuote);
}

// `[Q..Q,Q..Q]` of whatever the elements print as.
Status WriteStrings(Value list, std::string_view where, SegmentWriter& out) {
  TRY_ASSIGN(const Elements elements, Elements::Of(list, where));
  out.Text("[");
  for (size_t i = 0; i < elements.size(); ++i) {
    if (i > 0) out.Text(",");
    WriteString(Print(elements[i]), out);
  }
  out.Text("]");
  return {};
}

// Commas between the parts of a property that are present.
class Parts {
 public:
  explicit Parts(SegmentWriter& out) : out_(out) {}
  void Next(std::string_view name) {
    if (!std::exchange(first_, false)) out_.Text(",");
    out_.Text(name);
  }

 private:
  SegmentWriter& out_;
  bool first_ = true;
};

enum class Select { kAll, kNoSchemaKeywords };
Status WriteProperties(Value properties, Select select, std::string_view where, SegmentWriter& out);

// The schema of a list's elements: `{...}`. Only the first level knows the words of JSON Schema; a deeper `items`
// prints as any other value does.
Status WriteItems(const Json& items, std::string_view where, SegmentWriter& out) {
  out.Text("{");
  Parts parts(out);
  for (const auto& [key, value] : SortedMembers(items)) {
    if (value->is_null()) continue;
    parts.Next(key);
    out.Text(":");
    if (key == "properties") {
      out.Text("{");
      if (value->is_object()) TRY(WriteProperties(value, Select::kAll, where, out));
      out.Text("}");
    } else if (key == "required") {
      TRY(WriteStrings(value, where, out));
    } else if (key == "type" && value->is_string()) {
      WriteString(UpperAscii(Print(value)), out);
    } else if (key == "type") {
      TRY_ASSIGN(const Elements types, Elements::Of(IsTrue(value) ? value : nullptr, where));
      Json upper = Json::array();
      for (const Value type : types) upper.push_back(UpperAscii(Print(type)));
      WriteValue(&upper, Keys::kQuoted, out);
    } else {
      WriteValue(value, Keys::kQuoted, out);
    }
  }
  out.Text("}");
  return {};
}

// One property, from its opening brace. In this order, whatever the schema's: description, enum or items, nullable,
// properties, required, type. Other words of JSON Schema are not part of the format.
Status WriteProperty(Value schema, std::string_view where, SegmentWriter& out) {
  out.Text("{");
  Parts parts(out);
  const std::string type = UpperAscii(Print(Member(schema, "type")));
  if (const Value description = Member(schema, "description"); IsTrue(description)) {
    parts.Next("description:");
    WriteString(Print(description), out);
  }
  if (const Value values = Member(schema, "enum"); type == "STRING" && IsTrue(values)) {
    parts.Next("enum:");
    WriteValue(values, Keys::kQuoted, out);
  }
  if (const Value items = Member(schema, "items"); type == "ARRAY" && IsMapping(items) && IsTrue(items)) {
    parts.Next("items:");
    TRY(WriteItems(*items, where, out));
  }
  if (IsTrue(Member(schema, "nullable"))) parts.Next("nullable:true");
  if (type == "OBJECT") {
    // Without `properties`, what is left of the schema is taken for them.
    const Value properties = Member(schema, "properties");
    parts.Next("properties:{");
    TRY(IsMapping(properties) ? WriteProperties(properties, Select::kAll, where, out)
                              : WriteProperties(schema, Select::kNoSchemaKeywords, where, out));
    out.Text("}");
    if (const Value required = Member(schema, "required"); IsTrue(required)) {
      parts.Next("required:");
      TRY(WriteStrings(required, where, out));
    }
  }
  parts.Next("type:");
  WriteString(type, out);
  out.Text("}");
  return {};
}

Status WriteProperties(Value properties, Select select, std::string_view where, SegmentWriter& out) {
  static constexpr std::array<std::string_view, 5> kSchemaKeywords = {"description", "type", "properties", "required",
                                                                      "nullable"};
  if (!IsMapping(properties)) return Fail(ErrorCode::kUsage, std::string(where) + ": properties must be an object");
  Parts parts(out);
  for (const auto& [key, schema] : SortedMembers(*properties)) {
    if (select == Select::kNoSchemaKeywords &&
        std::find(kSchemaKeywords.begin(), kSchemaKeywords.end(), key) != kSchemaKeywords.end()) {
      continue;
    }
    parts.Next(key);
    out.Text(":");
    TRY(WriteProperty(schema, where, out));
  }
  return {};
}

// `parameters:{...}`. The closing brace belongs to the type: schemas without one lack it in the published template too.
Status WriteParameters(Value parameters, std::string_view where, SegmentWriter& out) {
  out.Text(",parameters:{");
  if (const Value properties = Member(parameters, "properties"); IsTrue(properties)) {
    out.Text("properties:{");
    TRY(WriteProperties(properties, Select::kAll, where, out));
    out.Text("},");
  }
  if (const Value required = Member(parameters, "required"); IsTrue(required)) {
    out.Text("required:");
    TRY(WriteStrings(required, where, out));
    out.Text(",");
  }
  if (const Value type = Member(parameters, "type"); IsTrue(type)) {
    out.Text("type:");
    WriteString(UpperAscii(Print(type)), out);
    out.Text("}");
  }
  return {};
}

}  // namespace

Status WriteDeclaration(Value tool, std::string_view where, SegmentWriter& out) {
  const Value function = Member(tool, "function");
  if (!IsMapping(function)) {
    return Fail(ErrorCode::kUsage,
                std::string(where) + " needs an object \"function\" with name, description, parameters");
  }
  out.Text("declaration:");
  out.Text(Print(Member(function, "name")));
  out.Text("{description:");
  WriteString(Print(Member(function, "description")), out);
  if (const Value parameters = Member(function, "parameters"); IsTrue(parameters)) {
    TRY(WriteParameters(parameters, where, out));
  }
  if (const Value response = Member(function, "response"); response != nullptr) {
    out.Text(",response:{");
    if (const Value description = Member(response, "description"); IsTrue(description)) {
      out.Text("description:");
      WriteString(Print(description), out);
      out.Text(",");
    }
    if (UpperAscii(Print(Member(response, "type"))) == "OBJECT") {
      out.Text("type:");
      WriteString("OBJECT", out);
      out.Text("}");
    }
  }
  out.Text("}");
  return {};
}

void WriteValue(Value value, Keys keys, SegmentWriter& out) {
  if (IsNone(value)) {
    out.Text("null");
  } else if (IsString(value)) {
    WriteString(value->get_ref<const std::string&>(), out);
  } else if (value != nullptr && value->is_boolean()) {
    out.Text(value->get<bool>() ? "true" : "false");
  } else if (IsMapping(value)) {
    out.Text("{");
    Parts parts(out);
    for (const auto& [key, member] : SortedMembers(*value)) {
      parts.Next("");
      if (keys == Keys::kQuoted) {
        WriteString(key, out);
      } else {
        out.Text(key);
      }
      out.Text(":");
      WriteValue(member, keys, out);
    }
    out.Text("}");
  } else if (IsSequence(value)) {  // a list; what is not there counts as an empty one
    out.Text("[");
    Parts parts(out);
    if (value != nullptr) {
      for (const Json& element : *value) {
        parts.Next("");
        WriteValue(&element, keys, out);
      }
    }
    out.Text("]");
  } else {
    out.Text(Print(value));
  }
}

void WriteMembers(const Json& object, SegmentWriter& out) {
  Parts parts(out);
  for (const auto& [key, value] : SortedMembers(object)) {
    parts.Next(key);
    out.Text(":");
    WriteValue(value, Keys::kBare, out);
  }
}

void WriteResponse(std::string_view name, Value response, bool opened, SegmentWriter& out) {
  if (!opened) out.Control("<|tool_response>");
  out.Text("response:");
  out.Text(name);
  out.Text("{");
  if (IsMapping(response)) {
    WriteMembers(*response, out);
  } else {
    out.Text("value:");
    WriteValue(response, Keys::kBare, out);
  }
  out.Text("}");
  out.Control("<tool_response|>");
}

}  // namespace carat::text
