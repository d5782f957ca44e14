#include "text/tool_call.h"

#include <gtest/gtest.h>

#include <ctime>

#include "text/chat_json.h"
#include "text/tool_call_writer.h"

namespace carat::text {
namespace {

// Q stands for the quote token in these tests.
std::string Marked(std::string text) {
  for (char& c : text) {
    if (c == 'Q') c = kQuoteMark;
  }
  return text;
}

std::string Show(const std::optional<ParsedCall>& call) {
  if (!call) return "nothing";
  const auto arguments = ParseChatJson(call->arguments_json, "arguments");
  EXPECT_TRUE(arguments && arguments->is_object()) << call->arguments_json;
  return call->name + call->arguments_json;
}
std::string Parse(const std::string& text) { return Show(ParseToolCall(Marked(text))); }

const Json& Tools() {
  static const Json tools = *ParseChatJson(R"([{"type": "function", "function": {"name": "get_weather", "parameters":
      {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}, "days": {"type": "integer"},
       "tags": {"type": "array", "items": {"type": "string"}}, "place": {"type": "object", "properties":
        {"name": {"type": ["string", "null"]}, "zip": {"type": "STRING"}}}}}}}, {"function": {"name": "ping"}}])",
                                           "tools");
  return tools;
}
std::string Repair(const std::string& text) {
  EXPECT_EQ(Parse(text), "nothing") << "needs no repair";
  return Show(RepairToolCall(Marked(text), &Tools()));
}

TEST(ToolCall, ReadsTheFormat) {
  EXPECT_EQ(Parse("call:get_time{city:QLondonQ}"), R"(get_time{"city":"London"})");
  EXPECT_EQ(Parse("call:f{}"), "f{}");
  EXPECT_EQ(Parse("call:f{a:42,b:-7,c:3.14,d:1.5e10,e:true,g:null}"),
            R"(f{"a":42,"b":-7,"c":3.14,"d":1.5e10,"e":true,"g":null})");
  EXPECT_EQ(Parse("call:f{todos:[Qbuy milkQ,Qwalk dogQ],x:[],y:{}}"),
            R"(f{"todos":["buy milk","walk dog"],"x":[],"y":{}})");
  EXPECT_EQ(Parse("call:f{config:{theme:QdarkQ,count:3}}"), R"(f{"config":{"theme":"dark","count":3}})");
  EXPECT_EQ(Parse("call:f{m:{Q3Q:Qnew textQ}}"), R"(f{"m":{"3":"new text"}})");
  EXPECT_EQ(Parse(R"(call:f{s:Qa "b" {c}, d:eQ})"), R"(f{"s":"a \"b\" {c}, d:e"})");
  EXPECT_EQ(Parse(R"(call:f{p:QC:\dir\nameQ})"), R"(f{"p":"C:\\dir\\name"})");
  EXPECT_EQ(Parse("call:f{x:[[Qa]bQ,QcQ],QtailQ]}"), R"(f{"x":[["a]b","c"],"tail"]})");
  EXPECT_EQ(Parse("call:f{s:Qline\n\ttwoQ}"), R"(f{"s":"line\n\ttwo"})");
  EXPECT_EQ(Parse("call: f { a : 1 , Qb cQ : [ 1 , 2 ] , d:{ } }\n"), R"(f{"a":1,"b c":[1,2],"d":{}})");
  EXPECT_EQ(Parse("call:f{n:123456789012345678901234567890,m:9007199254740993,r:1000.0}"),
            R"(f{"n":123456789012345678901234567890,"m":9007199254740993,"r":1000.0})");
  EXPECT_EQ(Parse("call:f{größe:Q日本🙂Q}"), R"(f{"größe":"日本🙂"})");
  EXPECT_EQ(Parse("call:f{a b:QQ}"), R"(f{"a b":""})");
}

TEST(ToolCall, KeepsTheFirstOfMembersWithOneKey) {
  EXPECT_EQ(Parse("call:f{a:1,a:2}"), R"(f{"a":1})");
  EXPECT_EQ(Parse("call:f{a:{a:1},b:2,a:[{b:1},2],QbQ:3,c:4}"), R"(f{"a":{"a":1},"b":2,"c":4})");
}

TEST(ToolCall, RefusesEverythingElse) {
  for (const char* text : {"",
                           "call",
                           "call:",
                           "call:{}",
                           "call:f",
                           "f{}",
                           "call:f{",
                           "call:f{a:1",
                           "call:f{a:1}}",
                           "call:f{a:1} x",
                           "call:f{a}",
                           "call:f{:1}",
                           "call:f{a:}",
                           "call:f{a:1,}",
                           "call:f{,}",
                           "call:f{a:1 b:2}",
                           "call:f{a:x}",
                           "call:f{a:True}",
                           "call:f{a:01}",
                           "call:f{a:1.}",
                           "call:f{a:.5}",
                           "call:f{a:+1}",
                           "call:f{a:1e}",
                           "call:f{a:-}",
                           "call:f{a:1e999}",
                           "call:f{a:[1}",
                           "call:f{a:[1,]}",
                           "call:f{a:[1 2]}",
                           "call:f{a:Qx}",
                           "call:f{a:xQ}",
                           "call:f{aQ:1}",
                           "call:fQ{a:1}",
                           "call:f{a:\"x\"}",
                           "call:f{a=1}",
                           "call:f{Qa:1}",
                           "call:f{QaQ 1}",
                           "call:f(a:1)",
                           "response:f{}"}) {
    EXPECT_EQ(Parse(text), "nothing") << text;
  }
}

TEST(ToolCall, BoundsNesting) {
  const auto nested = [](int depth) {  // the arguments themselves are one level
    return "call:f{a:" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_NE(Parse(nested(kMaxCallNesting)), "nothing");
  for (const int depth : {kMaxCallNesting + 1, 100000}) {
    EXPECT_FALSE(ReadToolCall(nested(depth), nullptr));
    EXPECT_FALSE(ReadToolCall("call:f{a:" + std::string(depth, '['), nullptr));
    std::string objects = "call:f";
    for (int i = 0; i < depth; ++i) objects += "{a:";
    EXPECT_FALSE(ReadToolCall(objects, nullptr));
  }
}

TEST(ToolCall, ClosesStrings) {
  EXPECT_EQ(Repair("call:get_weather{city:QParis}"), R"(get_weather{"city":"Paris"})");
  EXPECT_EQ(Repair("call:get_weather{city:QParis"), R"(get_weather{"city":"Paris"})");
  EXPECT_EQ(Repair("call:get_weather{city:QParis,unit:QcelsiusQ}"), R"(get_weather{"city":"Paris","unit":"celsius"})");
  EXPECT_EQ(Repair("call:get_weather{city:QParis, France,days:3,unit:QcelsiusQ}"),
            R"(get_weather{"city":"Paris, France","days":3,"unit":"celsius"})");
  EXPECT_EQ(Repair("call:get_weather{place:{name:QX}}"), R"(get_weather{"place":{"name":"X"}})");
  EXPECT_EQ(Repair("call:get_weather{tags:[Qa,b]}"), R"(get_weather{"tags":["a,b"]})");
  EXPECT_EQ(Repair("call:unknown{a:Qx,b:QyQ}"), R"(unknown{"a":"x","b":"y"})");
  EXPECT_EQ(Repair("call:get_weather{city:QsayQhelloQ,days:1}"),
            "get_weather{\"city\":\"say<|\\\"|>hello\",\"days\":1}");
}

TEST(ToolCall, AddsBracesAndCommas) {
  EXPECT_EQ(Repair("call:f{a:{b:[1,{c:QxQ"), R"(f{"a":{"b":[1,{"c":"x"}]}})");
  EXPECT_EQ(Repair("call:f{a:[1,2}"), R"(f{"a":[1,2]})");
  EXPECT_EQ(Repair("call:f{a:1}}"), R"(f{"a":1})");
  EXPECT_EQ(Repair("call:f{a:1]}"), R"(f{"a":1})");
  EXPECT_EQ(Repair("call:f{a:1,}"), R"(f{"a":1})");
  EXPECT_EQ(Repair("call:f{a:QxQ b:QyQ}"), R"(f{"a":"x","b":"y"})");
  EXPECT_EQ(Repair("call:ping"), "ping{}");
  EXPECT_EQ(Repair("ping{}"), "ping{}");
}

TEST(ToolCall, ReadsOtherQuotes) {
  EXPECT_EQ(Repair("call:f{a:\"x\",b:'y'}"), R"(f{"a":"x","b":"y"})");
  EXPECT_EQ(Repair("call:f{a:'it's, or',b:2}"), R"(f{"a":"it's, or","b":2})");
  EXPECT_EQ(Repair("call:f{\"a\":QxQ,'b':1}"), R"(f{"a":"x","b":1})");
  EXPECT_EQ(Repair(R"(call:f{"a": "x\n\"y\"", "b": [1, {"c": null}]})"), R"(f{"a":"x\n\"y\"","b":[1,{"c":null}]})");
  EXPECT_EQ(Repair("call:get_weather{city:\"Paris,days:2}"), R"(get_weather{"city":"Paris","days":2})");
}

TEST(ToolCall, QuotesWords) {
  EXPECT_EQ(Repair("call:get_weather{city:Paris}"), R"(get_weather{"city":"Paris"})");
  EXPECT_EQ(Repair("call:get_weather{city:New York, USA,days:3}"), R"(get_weather{"city":"New York, USA","days":3})");
  EXPECT_EQ(Repair("call:get_weather{place:{zip:02134}}"), R"(get_weather{"place":{"zip":"02134"}})");
  EXPECT_EQ(Repair("call:get_weather{place:{zip:2134,name:x}}"), R"(get_weather{"place":{"zip":"2134","name":"x"}})");
  EXPECT_EQ(Repair("call:get_weather{tags:[a,b c, 3]}"), R"(get_weather{"tags":["a","b c","3"]})");
  EXPECT_EQ(Repair("call:f{a:True,b:FALSE,c:None,d:nil,e:,g:nothing,h:1e999}"),
            R"(f{"a":true,"b":false,"c":null,"d":null,"e":null,"g":"nothing","h":"1e999"})");
  EXPECT_EQ(Repair("call:get_weather{city:ParisQ,unit:QcQ}"), R"(get_weather{"city":"Paris","unit":"c"})");
  EXPECT_EQ(Repair("call:get_weather{city:Paris, FranceQ}"), R"(get_weather{"city":"Paris, France"})");
}

TEST(ToolCall, ReadsOtherForms) {
  EXPECT_EQ(Repair("call:f{a=1,b=QxQ}"), R"(f{"a":1,"b":"x"})");
  EXPECT_EQ(Repair("call:f(a=1, b=QxQ)"), R"(f{"a":1,"b":"x"})");
  EXPECT_EQ(Repair("call:f({a:1,b:Q)Q})"), "f{\"a\":1,\"b\":\")\"}");
  EXPECT_EQ(Repair("call:f( {\"a\": 1} )"), R"(f{"a":1})");
  EXPECT_EQ(Repair("call:f()"), "f{}");
}

TEST(ToolCall, GivesUpOnNonsense) {
  for (const char* text : {"", "call:", "call:I will call the tool", "{}", "call:f{Paris}", "call:f{a:1} and more",
                           "call:f{a", "call:f{QaQ}", "call:f{\"a:1}"}) {
    EXPECT_EQ(Repair(text), "nothing") << text;
  }
}

TEST(ToolCall, TakesPrefixesOffDeclaredNames) {
  const auto name = [](const char* text) {
    const auto call = ReadToolCall(text, &Tools());
    return call ? call->name + call->arguments_json : "nothing";
  };
  EXPECT_EQ(name("call:server:get_weather{}"), "get_weather{}");
  EXPECT_EQ(name("call:a:b.ping{}"), "ping{}");
  EXPECT_EQ(name("call:server:other{}"), "server:other{}");
  EXPECT_EQ(name("call:api.get_weather{place:{zip:1x}}"), R"(get_weather{"place":{"zip":"1x"}})");
  EXPECT_EQ(ReadToolCall("call:a:b{}", nullptr)->name, "a:b");
}

// A second for input that a quadratic reader would spend minutes on.
TEST(ToolCall, TakesLinearTime) {
  const auto repeat = [](const std::string& head, const std::string& unit) {
    std::string text = head;
    while (text.size() < 400000) text += unit;
    return Marked(text);
  };
  const std::clock_t begin = std::clock();  // of this process: others do not count
  for (const char* unit : {"city:Qx,", "city:\"x,", "Q", "Qx", "city:'", ",", "a ", "days:Q,Q", "{city:", ", ", "a:b,",
                           "city:xQ", "city:Qx Qx", "(", ")", "tags:[Q", "k:1,"}) {
    ReadToolCall(repeat("call:get_weather{", unit), &Tools());
    ReadToolCall(repeat("call:get_weather{city:Q", unit), &Tools());
    ReadToolCall(repeat("call:get_weather(city:", unit), nullptr);
  }
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
}

TEST(ToolCall, KnowsNumbers) {
  for (const char* text :
       {"0", "-0", "10", "1.5", "-0.25e-3", "1E+5", "1e308", "1e-999", "123456789012345678901234567890"}) {
    EXPECT_TRUE(IsJsonNumber(text)) << text;
  }
  for (const char* text :
       {"", "-", "01", "1.", ".5", "+1", "1e", "1e+", "1e999", "-1e999", "0x1", "1 ", " 1", "nan", "inf", "1.5.2"}) {
    EXPECT_FALSE(IsJsonNumber(text)) << text;
  }
  EXPECT_FALSE(IsJsonNumber(std::string(400, '9')));
}

}  // namespace
}  // namespace carat::text
