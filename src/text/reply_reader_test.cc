#include "text/reply_reader.h"

#include <gtest/gtest.h>

#include <ctime>

#include "text/chat_json.h"
#include "text/small_vocabulary.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

using Event = ReplyReader::Event;

// What a reader gave in the end: "text | ~thought~ | name{...}", neighbours of one kind joined.
std::string Join(const std::vector<Event>& events) {
  std::string out;
  std::optional<Event::Kind> last;
  for (const Event& event : events) {
    if (event.kind == Event::Kind::kToolCall) {
      if (last) out += " | ";
      out += event.call.name + event.call.arguments_json;
    } else {
      EXPECT_FALSE(event.text.empty());
      EXPECT_TRUE(IsValidUtf8(event.text));
      if (last && *last != event.kind) out += " | ";
      if (event.kind == Event::Kind::kThought && last != event.kind) out += "~";
      out += event.text;
    }
    last = event.kind;
  }
  return out;
}

class ReplyReaderTest : public testing::Test {
 protected:
  std::vector<TokenId> Ids(std::string_view text) const { return tokenizer_.Encode(text, true); }

  std::string Read(std::string_view text, ReplyStart start = ReplyStart::kContent, bool thinking = true,
                   const Json* tools = nullptr) {
    return Read(Ids(text), start, thinking, tools);
  }
  std::string Read(std::span<const TokenId> ids, ReplyStart start = ReplyStart::kContent, bool thinking = true,
                   const Json* tools = nullptr) {
    ReplyReader reader(tokenizer_, start, thinking, tools);
    std::vector<Event> events;
    for (const TokenId id : ids) reader.Push(id, events);
    ended_ = reader.ended();
    reader.Finish(events);
    EXPECT_TRUE(reader.ended());
    has_calls_ = reader.has_calls();
    return Join(events);
  }

  Tokenizer tokenizer_ = SmallTokenizer();
  bool ended_ = false;
  bool has_calls_ = false;
};

TEST_F(ReplyReaderTest, ReadsText) {
  EXPECT_EQ(Read("Hello, world!<turn|>"), "Hello, world!");
  EXPECT_TRUE(ended_);
  EXPECT_FALSE(has_calls_);
  EXPECT_EQ(Read("Hello<eos>more"), "Hello");
  EXPECT_EQ(Read("Grüße 日本 🙂"), "Grüße 日本 🙂");
  EXPECT_FALSE(ended_);
  EXPECT_EQ(Read(" a \n\n b \n<turn|>"), " a \n\n b \n");
  EXPECT_EQ(Read(""), "");
  EXPECT_EQ(Read("<turn|>"), "");
  EXPECT_EQ(Read("stop<|tool_response>"), "stop");
  EXPECT_TRUE(ended_);
  EXPECT_FALSE(has_calls_);
}

TEST_F(ReplyReaderTest, ReadsThoughts) {
  EXPECT_EQ(Read("<|channel>thought\nHm. \n<channel|>Hi<turn|>"), "~Hm. | Hi");
  EXPECT_EQ(Read("<|channel>thought\nHm.<channel|>\n\nHi"), "~Hm. | Hi");
  EXPECT_EQ(Read("Hm.\n<channel|>Hi", ReplyStart::kThought), "~Hm. | Hi");
  EXPECT_EQ(Read("<|channel>thought\nHm.<channel|>Hi", ReplyStart::kThought), "~Hm. | Hi");
  EXPECT_EQ(Read("<|channel>thought\n  two\n lines<turn|>"), "~  two\n lines");
  EXPECT_EQ(Read("<|channel>thought<channel|>Hi"), "Hi");
  EXPECT_EQ(Read("<|channel>thought\n<channel|>Hi"), "Hi");
  EXPECT_EQ(Read("<|channel><channel|>Hi"), "Hi");
  EXPECT_EQ(Read("<|channel>thoughtful\nHm<channel|>Hi"), "~thoughtful\nHm | Hi");
  EXPECT_EQ(Read("<|channel>plan\nHm<channel|>Hi"), "~plan\nHm | Hi");
  EXPECT_EQ(Read("<|channel>thou<channel|>Hi"), "~thou | Hi");
  EXPECT_EQ(Read("<|channel>thou"), "~thou");
  EXPECT_EQ(Read("A \n<|channel>thought\none<channel|>  B<|channel>thought\ntwo<channel|>C"),
            "A | ~one |  \nB | ~\ntwo | C");
  EXPECT_EQ(Read("<|channel>thought\na<channel|><|channel>thought\nb<channel|>Hi"), "~a\nb | Hi");
}

TEST_F(ReplyReaderTest, LeavesThoughtsOutIfThinkingIsOff) {
  EXPECT_EQ(Read("<|channel>thought\nHm.<channel|>Hi", ReplyStart::kContent, false), "Hi");
  EXPECT_EQ(Read("<|channel>never closed", ReplyStart::kContent, false), "");
  EXPECT_EQ(Read("<|channel>thought\n<|tool_call>call:f{}<tool_call|>", ReplyStart::kContent, false), "f{}");
}

TEST_F(ReplyReaderTest, LeavesStrayMarkersOut) {
  EXPECT_EQ(Read("<|channel>thought\n<channel|>Hi<|channel>thought\n<channel|><channel|>"), "Hi");
  EXPECT_EQ(Read("<|channel><|channel>thought\n<channel|>Hi"), "Hi");
  EXPECT_EQ(Read("<channel|>H<tool_call|>i<tool_response|><|\"|><|turn>"), "Hi");
}

TEST_F(ReplyReaderTest, ReadsCalls) {
  EXPECT_EQ(Read("<|tool_call>call:get_time{city:<|\"|>London<|\"|>}<tool_call|><|tool_response>"),
            R"(get_time{"city":"London"})");
  EXPECT_TRUE(ended_);
  EXPECT_TRUE(has_calls_);
  EXPECT_EQ(Read("Let me see. \n<|tool_call>call:f{}<tool_call|>\n<turn|>"), "Let me see. | f{}");
  EXPECT_TRUE(has_calls_);
  EXPECT_EQ(Read("<|tool_call>call:f{a:1}<tool_call|><tool_call|>\n<|tool_call>call:g{b:<|\"|>é🙂<|\"|>}<tool_call|>"),
            "f{\"a\":1} | g{\"b\":\"é🙂\"}");
  EXPECT_EQ(Read("<|channel>thought\nUse f. <|tool_call>call:f{}<tool_call|><|tool_response>"), "~Use f. | f{}");
  EXPECT_EQ(Read("<|channel>thought<|tool_call>call:f{}<tool_call|>"), "f{}");
  EXPECT_EQ(Read("<|tool_call>call:f{}<tool_call|>\n\n Done<|tool_call>call:g{}<tool_call|>"), "f{} | Done | g{}");
  EXPECT_EQ(Read("<|tool_call>call:f{}<|tool_call>call:g{}<tool_call|>"), "f{} | g{}");
  EXPECT_EQ(Read("<|tool_call>call:f{}<tool_call|><|channel>thought\nNext.<channel|>Ok"), "f{} | ~Next. | Ok");
  EXPECT_EQ(Read("<|tool_call>call:f{}<|tool_response>"), "f{}");
  EXPECT_EQ(Read("<|tool_call>call:f{a:<|\"|>x<|channel><channel|><tool_response|>y<|\"|>}<tool_call|>"),
            "f{\"a\":\"xy\"}");
}

TEST_F(ReplyReaderTest, TakesTextThatLooksLikeAMarkerForText) {
  std::vector<TokenId> ids = tokenizer_.Encode("<|tool_call>call:f{}<tool_call|> <|channel>thought\n<turn|>", false);
  EXPECT_EQ(Read(ids), "<|tool_call>call:f{}<tool_call|> <|channel>thought\n<turn|>");
  EXPECT_FALSE(has_calls_);
  // Also inside of an argument: neither the end of the call nor of the string.
  ids = Ids("<|tool_call>call:f{a:<|\"|>");
  for (const TokenId id : tokenizer_.Encode("<tool_call|><|\"|>,b:", false)) ids.push_back(id);
  for (const TokenId id : Ids("<|\"|>}<tool_call|>")) ids.push_back(id);
  EXPECT_EQ(Read(ids), "f{\"a\":\"<tool_call|><|\\\"|>,b:\"}");
}

TEST_F(ReplyReaderTest, RepairsCallsThatTheModelEnded) {
  const Json tools = *ParseChatJson(
      R"([{"function": {"name": "f", "parameters": {"properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}}}])",
      "tools");
  const auto read = [&](std::string_view text) { return Read(text, ReplyStart::kContent, true, &tools); };
  EXPECT_EQ(read("<|tool_call>call:f{city:<|\"|>Paris,n:3}<tool_call|>"), R"(f{"city":"Paris","n":3})");
  EXPECT_EQ(read("<|tool_call>call:f{city:Paris<turn|>"), R"(f{"city":"Paris"})");
  EXPECT_EQ(read("<|tool_call>call:ns:f{city:<|\"|>Paris<|\"|>}<tool_call|>"), R"(f{"city":"Paris"})");
}

TEST_F(ReplyReaderTest, ShowsCallsThatMakeNoSenseAsText) {
  EXPECT_EQ(Read("Now \n<|tool_call>call:f{<|\"|>x<|\"|>}<tool_call|><turn|>"), "Now \ncall:f{<|\"|>x<|\"|>}");
  EXPECT_FALSE(has_calls_);
  EXPECT_EQ(Read("<|tool_call>I would call f.<tool_call|>"), "I would call f.");
  EXPECT_EQ(Read("<|tool_call><tool_call|>"), "");
}

// The token limit may fall anywhere: a call that was not complete must not be carried out with half of its arguments.
TEST_F(ReplyReaderTest, DoesNotRepairCallsThatWereCutOff) {
  EXPECT_EQ(Read("<|tool_call>call:rm{path:<|\"|>/data"), "call:rm{path:<|\"|>/data");
  EXPECT_FALSE(has_calls_);
  EXPECT_EQ(Read("<|tool_call>call:rm{path:<|\"|>/data/x<|\"|>}"), R"(rm{"path":"/data/x"})");
  EXPECT_TRUE(has_calls_);
}

TEST_F(ReplyReaderTest, HoldsBackOnlyWhatIsNotCertain) {
  ReplyReader reader(tokenizer_, ReplyStart::kContent, true, nullptr);
  std::vector<Event> events;
  const auto push = [&](std::string_view text) {
    events.clear();
    for (const TokenId id : tokenizer_.Encode(text, true)) reader.Push(id, events);
    return Join(events);
  };
  EXPECT_EQ(push("a"), "a");
  EXPECT_EQ(push(" "), "");
  EXPECT_EQ(push("\n"), "");
  EXPECT_EQ(push("b"), " \nb");
  const std::vector<TokenId> smile = Ids("🙂");
  ASSERT_EQ(smile.size(), 4u);
  events.clear();
  for (size_t i = 0; i < 3; ++i) reader.Push(smile[i], events);
  EXPECT_TRUE(events.empty());
  reader.Push(smile[3], events);
  EXPECT_EQ(Join(events), "🙂");
  EXPECT_EQ(push("<|channel>thoug"), "");
  EXPECT_EQ(push("ht"), "");
  EXPECT_EQ(push("\n"), "");
  EXPECT_EQ(push("x"), "~x");
  EXPECT_EQ(push(" "), "");
  EXPECT_EQ(push("y"), "~ y");
  // A character that a marker cuts off.
  events.clear();
  reader.Push(smile[0], events);
  reader.Push(smile[1], events);
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(push("<channel|>Hi"), "~\uFFFD\uFFFD | Hi");
}

TEST_F(ReplyReaderTest, KnowsWhereAPromptLeavesOff) {
  const Json messages = *ParseChatJson(R"([{"role": "user", "content": "<|channel>thought\n"}, {"role": "assistant",
      "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}, {"role": "tool", "content": "r"}])",
                                       "test");
  for (const bool think : {false, true}) {
    const auto prompt = RenderChat(ChatFormat::kGemma4, {.messages = &messages, .enable_thinking = think});
    ASSERT_TRUE(prompt);
    EXPECT_EQ(StartAfter(*prompt), think ? ReplyStart::kThought : ReplyStart::kContent);
  }
  EXPECT_EQ(StartAfter({}), ReplyStart::kContent);
}

TEST_F(ReplyReaderTest, ReadsCheckpointsWithoutMarkers) {
  TokenizerSpec spec;  // of Gemma 3, in small
  std::vector<std::string> pieces = {"<pad>", "<eos>", "<bos>", "<unk>", "<end_of_turn>"};
  for (int id = 0; id < tokenizer_.size(); ++id) {
    if (tokenizer_.Kind(id) == PieceKind::kByte || tokenizer_.Kind(id) == PieceKind::kNormal)
      pieces.emplace_back(tokenizer_.Piece(id));
  }
  for (const std::string& piece : pieces) {
    spec.pieces.push_back(piece);
    const auto id = tokenizer_.Find(piece);
    spec.kinds.push_back(id ? tokenizer_.Kind(*id) : PieceKind::kControl);
  }
  const auto gemma3 = Tokenizer::Create(spec, "test");
  ASSERT_TRUE(gemma3) << gemma3.error().message;
  ReplyReader reader(*gemma3, ReplyStart::kContent, false, nullptr);
  std::vector<Event> events;
  for (const TokenId id : gemma3->Encode("<|channel>thought\nHi<end_of_turn>", true)) reader.Push(id, events);
  EXPECT_TRUE(reader.ended());
  EXPECT_EQ(Join(events), "<|channel>thought\nHi");
}

TEST_F(ReplyReaderTest, TakesLinearTime) {
  const std::clock_t begin = std::clock();  // of this process: others do not count
  for (const char* unit :
       {" ", "a", "\n", "<|channel>", "<|channel>thought\n ", "<|tool_call>call:f{", "<|tool_call>", "<|\"|>"}) {
    const std::vector<TokenId> piece = Ids(unit);
    std::vector<TokenId> ids = Ids("x<|tool_call>call:f{");
    while (ids.size() < 300000) ids.insert(ids.end(), piece.begin(), piece.end());
    Read(std::span(ids).first(1));
    Read(ids);
    Read(std::span(ids).subspan(10));
  }
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
}

}  // namespace
}  // namespace carat::text
