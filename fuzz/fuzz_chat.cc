// Chat: an input that begins with '{' is a conversation, rendered in both formats or refused; any other is an answer of
// the model, read token by token. What comes out is valid UTF-8 and valid JSON, nothing from outside becomes a control
// token, and an answer reads the same however its text was cut into tokens. After a byte 0xFE the input is repeated to
// 64 KiB, and must not take the time of work that grows faster than its input; only if its size is a power of two,
// since one such run takes as long as a thousand others.
#include <bit>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

#include "text/chat.h"
#include "text/chat_ids.h"
#include "text/chat_json.h"
#include "text/reply_reader.h"
#include "text/small_vocabulary.h"
#include "text/tool_call.h"
#include "text/unicode.h"

namespace carat {

using text::ChatSegment;
using text::ReplyReader;

namespace {

constexpr size_t kStretchedBytes = 64 << 10;
constexpr double kStretchedSeconds = 10;  // under sanitizers; half a second is usual

void Require(bool holds) {
  if (!holds) std::abort();
}

const text::Tokenizer& SmallTokenizer() {
  static const text::Tokenizer tokenizer = text::SmallTokenizer();
  return tokenizer;
}

const Json& Tools() {
  static const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {
      "type": "object", "properties": {"s": {"type": "string"}, "n": {"type": "number"},
      "o": {"type": "object", "properties": {"t": {"type": "string"}}},
      "l": {"type": "array", "items": {"type": "string"}}}}}}])");
  return tools;
}

// Conversations

void CheckSegments(const std::vector<ChatSegment>& segments) {
  size_t tokens = 0;
  for (const ChatSegment& segment : segments) {
    Require(text::IsValidUtf8(segment.text) && !segment.text.empty());
    tokens += segment.kind != ChatSegment::Kind::kText;
  }
  const Result<std::vector<TokenId>> ids = text::EncodeSegments(SmallTokenizer(), segments);
  if (!ids) return;  // Gemma 3's markers, which this vocabulary lacks
  for (const TokenId id : *ids) tokens -= SmallTokenizer().IsControl(id);
  Require(tokens == 0);
}

void CheckRendering(text::ChatFormat format, const text::ChatRequest& request) {
  const Result<std::vector<ChatSegment>> segments = text::RenderChat(format, request);
  if (segments) return CheckSegments(*segments);
  Require(segments.error().code == ErrorCode::kUsage && !segments.error().message.empty());
  Require(segments.error().message.find('\n') == std::string::npos);
}

void RenderConversation(std::string_view input) {
  Result<Json> conversation = text::ParseChatJson(input, "fuzz");
  if (!conversation || !conversation->is_object()) return;
  Json& messages = (*conversation)["messages"];
  text::ChatRequest request{.messages = &messages};
  if (conversation->contains("tools")) request.tools = &(*conversation)["tools"];
  for (int options = 0; options < 8; ++options) {
    request.add_generation_prompt = (options & 1) != 0;
    request.enable_thinking = (options & 2) != 0;
    request.preserve_thinking = (options & 4) != 0;
    CheckRendering(text::ChatFormat::kGemma4, request);
    CheckRendering(text::ChatFormat::kGemma3, request);
  }
  if (text::NormalizeMessages(messages)) CheckRendering(text::ChatFormat::kGemma4, request);
  if (!conversation->contains("tool_calls")) return;
  const auto responses =
      text::RenderToolResponses({.tool_calls = &(*conversation)["tool_calls"], .messages = &messages});
  if (responses) CheckSegments(*responses);
}

// Answers

void CheckCall(const text::ParsedCall& call) {
  Require(!call.name.empty() && text::IsValidUtf8(call.name));
  const Result<Json> arguments = text::ParseChatJson(call.arguments_json, "arguments");
  Require(arguments && arguments->is_object());
}

// What a reader gives in the end, events of one kind joined.
std::string ReadAnswer(std::span<const TokenId> ids, text::ReplyStart start, bool thinking, const Json* tools) {
  ReplyReader reader(SmallTokenizer(), start, thinking, tools);
  std::vector<ReplyReader::Event> events;
  for (const TokenId id : ids) reader.Push(id, events);
  reader.Finish(events);
  std::string out;
  auto last = ReplyReader::Event::Kind::kToolCall;
  for (const ReplyReader::Event& event : events) {
    if (event.kind == ReplyReader::Event::Kind::kToolCall) {
      CheckCall(event.call);
      out += "\ncall " + event.call.name + event.call.arguments_json;
    } else {
      Require(!event.text.empty() && text::IsValidUtf8(event.text));
      Require(event.kind == ReplyReader::Event::Kind::kText || thinking);
      if (event.kind != last) out += event.kind == ReplyReader::Event::Kind::kText ? "\ntext " : "\nthought ";
      out += event.text;
    }
    last = event.kind;
  }
  return out;
}

// The same answer with every text token spelled in byte tokens.
std::vector<TokenId> InBytes(std::span<const TokenId> ids) {
  static const TokenId first_byte = *SmallTokenizer().Find("<0x00>");
  std::vector<TokenId> out;
  for (const TokenId id : ids) {
    if (SmallTokenizer().Kind(id) != text::PieceKind::kNormal) {
      out.push_back(id);
      continue;
    }
    for (const char byte : SmallTokenizer().Decode({&id, 1}, true))
      out.push_back(first_byte + static_cast<uint8_t>(byte));
  }
  return out;
}

void CheckAnswer(std::span<const TokenId> ids) {
  const std::vector<TokenId> bytes = InBytes(ids);
  for (const bool thinking : {false, true}) {
    const auto start = thinking ? text::ReplyStart::kThought : text::ReplyStart::kContent;
    const Json* tools = thinking ? &Tools() : nullptr;
    Require(ReadAnswer(ids, start, thinking, tools) == ReadAnswer(bytes, start, thinking, tools));
  }
}

// Bytes as the text of a call: valid UTF-8, but for the marks of quote tokens.
std::string AsCall(std::string_view bytes) {
  std::string call;
  for (size_t mark = 0; (mark = bytes.find(text::kQuoteMark)) != bytes.npos; bytes.remove_prefix(mark + 1))
    call += text::ReplaceInvalidUtf8(bytes.substr(0, mark)) + text::kQuoteMark;
  return call + text::ReplaceInvalidUtf8(bytes);
}

void CheckCallReaders(std::string_view call) {
  const auto exact = text::ParseToolCall(call);
  if (exact) CheckCall(*exact);
  for (const Json* tools : {static_cast<const Json*>(nullptr), &Tools()}) {
    const auto repaired = text::RepairToolCall(call, tools);
    if (repaired) CheckCall(*repaired);
    const auto read = text::ReadToolCall(call, tools);
    Require(read.has_value() == (exact || repaired));
  }
}

void CheckInput(const std::string& input) {
  if (input.starts_with('{')) return RenderConversation(input);
  CheckAnswer(SmallTokenizer().Encode(input, true));
  std::vector<TokenId> ids;
  for (size_t i = 0; i + 1 < input.size(); i += 2) {
    const int number = static_cast<uint8_t>(input[i]) << 8 | static_cast<uint8_t>(input[i + 1]);
    ids.push_back(number % SmallTokenizer().size());
  }
  CheckAnswer(ids);
  CheckCallReaders(AsCall(input));
}

// Of this process: the fuzzer's own limit counts what others took as well.
double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  CheckInput(input);
  if (!input.starts_with('\xfe') || !std::has_single_bit(size - 1)) return 0;
  std::string stretched;
  while (stretched.size() < kStretchedBytes) stretched.append(input, 1);
  const double begin = CpuSeconds();
  CheckInput(stretched);
  Require(CpuSeconds() - begin < kStretchedSeconds);
  return 0;
}

}  // namespace carat
