// Conversations in which the model calls tools.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/conversation_testing.h"

namespace carat {
namespace {

TEST(ConversationToolsTest, GoesOnWithTheResultsOfTools) {
  for (const bool think : {false, true}) {
    Conversation conversation = NewConversation({.think = think, .tools_json = kTools});
    ASSERT_TRUE(conversation.AddUser("What time is it in Rome?"));
    std::vector<std::string> events;
    Reply reply = Answer(conversation, [&](const ReplyEvent& event) {
      if (event.call != nullptr) events.push_back(event.call->id + event.call->name + event.call->arguments_json);
      return true;
    });
    EXPECT_EQ(reply.stop, StopReason::kToolCalls);
    EXPECT_EQ(reply.text, "");
    EXPECT_EQ(reply.thought, think ? "The user wants the time." : "");
    ASSERT_EQ(reply.tool_calls.size(), 1u);
    EXPECT_EQ(reply.tool_calls[0].name, "get_time");
    EXPECT_EQ(reply.tool_calls[0].arguments_json, R"({"city":"Rome"})");
    EXPECT_EQ(events, std::vector<std::string>{"call_1get_time" + reply.tool_calls[0].arguments_json});
    EXPECT_EQ(conversation.open_calls(), 1);
    EXPECT_FALSE(conversation.has_question());
    const int said = conversation.session().length();

    ASSERT_TRUE(conversation.AddToolResult("get_time", "midnight"));
    EXPECT_EQ(conversation.open_calls(), 0);
    reply = Answer(conversation);
    EXPECT_EQ(reply.text, "It is midnight in Rome.");
    EXPECT_EQ(reply.thought, think ? "I know the time." : "");
    EXPECT_EQ(reply.stop, StopReason::kEndOfTurn);
    EXPECT_EQ(reply.reused_tokens, said);  // what the model said stays, its thought too
    const std::string thought = think ? "<|channel>thought\nThe user wants the time.<channel|>" : "";
    const std::string after = think ? "<|channel>thought\nI know the time.<channel|>" : "";
    std::string turn = "<|turn>model\n" + thought;
    turn += R"(<|tool_call>call:get_time{city:<|"|>Rome<|"|>}<tool_call|>)";
    turn += R"(<|tool_response>response:get_time{value:<|"|>midnight<|"|>}<tool_response|>)" + after;
    turn += "It is midnight in Rome.";
    EXPECT_TRUE(Tokens(conversation).ends_with(turn)) << Tokens(conversation);

    reply = AskBoth(conversation, "What is the capital of France?");
    EXPECT_EQ(Tokens(conversation).find("wants the time"), std::string::npos);
  }
}

// Where rendering the messages would give other tokens than the model gave: arguments in another order and with other
// spaces, and what was said before the call behind its result.
TEST(ConversationToolsTest, KeepsTheTokensOfARunningExchange) {
  Conversation conversation = NewConversation({.tools_json = kTools});
  PutIntoMouth(conversation, "Let me see.<|tool_call>call:get_time{z:1, a:2.50}<tool_call|><|tool_response>");
  Reply reply = Ask(conversation, "Time?");
  EXPECT_EQ(reply.text, "Let me see.");
  EXPECT_EQ(reply.tool_calls[0].arguments_json, R"({"z":1,"a":2.50})");
  ASSERT_TRUE(conversation.AddToolResult("get_time", "noon"));
  PutIntoMouth(conversation, "Again.<|tool_call>call:get_time{}<tool_call|><turn|>");
  reply = Answer(conversation);
  EXPECT_EQ(reply.stop, StopReason::kToolCalls);
  EXPECT_EQ(reply.tool_calls[0].id, "call_2");
  ASSERT_TRUE(conversation.AddToolResult("get_time", "7 pm"));
  PutIntoMouth(conversation, "Done.<turn|>");
  reply = Answer(conversation);
  EXPECT_TRUE(
      Tokens(conversation)
          .ends_with("<|turn>user\nTime?<turn|>\n<|turn>model\nLet me see.<|tool_call>call:get_time{z:1, a:2.50}"
                     "<tool_call|><|tool_response>response:get_time{value:<|\"|>noon<|\"|>}<tool_response|>Again."
                     "<|tool_call>call:get_time{}<tool_call|><|tool_response>response:get_time{value:<|\"|>7 pm<|\"|>}"
                     "<tool_response|>Done."))
      << Tokens(conversation);
  // Afterwards it is history like any other, as the template has it.
  PutIntoMouth(conversation, "Bye.<turn|>");
  Ask(conversation, "Thanks");
  EXPECT_NE(Tokens(conversation).find("<|turn>model\n<|tool_call>call:get_time{a:2.5,z:1}<tool_call|><|tool_response>"),
            std::string::npos)
      << Tokens(conversation);
}

// The same exchange in messages from outside, whose tokens nobody knows.
TEST(ConversationToolsTest, PutsTextBeforeTheCallsOfAnExchangeThatGoesOn) {
  Conversation conversation = NewConversation({.think = true, .tools_json = kTools});
  ASSERT_TRUE(conversation.AddMessages(R"([{"role": "user", "content": "Time?"},
      {"role": "assistant", "content": "Let me see.", "reasoning_content": "Hm.", "tool_calls": [{"id": "x",
       "type": "function", "function": {"name": "get_time", "arguments": "{\"z\": 1}"}}]},
      {"role": "tool", "tool_call_id": "x", "content": "noon"}])"));
  PutIntoMouth(conversation, "Ok.<channel|>Noon.<turn|>");
  const Reply reply = Answer(conversation);
  EXPECT_EQ(reply.thought, "Ok.");  // the prompt opened it
  EXPECT_EQ(reply.text, "Noon.");
  EXPECT_TRUE(Tokens(conversation)
                  .ends_with("<|turn>model\n<|channel>thought\nHm.\n<channel|>Let me see.<|tool_call>call:get_time{z:1}"
                             "<tool_call|><|tool_response>response:get_time{value:<|\"|>noon<|\"|>}<tool_response|>"
                             "<|channel>thought\nOk.<channel|>Noon."))
      << Tokens(conversation);
}

TEST(ConversationToolsTest, WaitsForTheResultsOfAllCalls) {
  Conversation conversation = NewConversation({.tools_json = kTools});
  PutIntoMouth(conversation,
               "<|tool_call>call:f{a:1}<tool_call|><|tool_call>call:g{}<tool_call|><|tool_call>call:f{a:2}<tool_call|>"
               "<|tool_response>");
  const Reply reply = Ask(conversation, "Go");
  ASSERT_EQ(reply.tool_calls.size(), 3u);
  EXPECT_EQ(reply.tool_calls[2].id, "call_3");
  EXPECT_EQ(conversation.open_calls(), 3);
  const std::string before = conversation.MessagesJson();
  EXPECT_EQ(conversation.AddUser("Well?").error().message,
            "the model waits for the result of f; give it, or drop the answer");
  EXPECT_EQ(conversation.Generate().error().message, "the model waits for the results of 3 tool calls");
  EXPECT_EQ(conversation.AddToolResult("h", "x").error().message,
            "the model does not wait for a result of 'h', but of: f, g, f");
  EXPECT_EQ(conversation.MessagesJson(), before);
  ASSERT_TRUE(conversation.AddToolResult("g", "G"));
  ASSERT_TRUE(conversation.AddToolResult("f", "F1"));
  EXPECT_EQ(conversation.open_calls(), 1);
  EXPECT_EQ(conversation.Generate().error().code, ErrorCode::kUsage);
  ASSERT_TRUE(conversation.AddToolResult("f", "F2"));
  EXPECT_EQ(conversation.AddToolResult("f", "F3").error().message, "the model waits for no tool's result");
  const auto messages = ParseJson(conversation.MessagesJson(), "test");
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 5u);
  EXPECT_EQ((*messages)[2]["tool_call_id"], "call_2");
  EXPECT_EQ((*messages)[3]["tool_call_id"], "call_1");
  EXPECT_EQ((*messages)[4]["tool_call_id"], "call_3");
  PutIntoMouth(conversation, "Done.<turn|>");
  Answer(conversation);
  EXPECT_NE(Tokens(conversation).find("response:g{value:<|\"|>G<|\"|>}<tool_response|><|tool_response>response:f{"),
            std::string::npos);
}

// A call that the model did not close cannot be gone on from: the message is rendered instead.
TEST(ConversationToolsTest, RendersCallsThatWereNotClosed) {
  Conversation conversation = NewConversation({.tools_json = kTools});
  PutIntoMouth(conversation, R"(<|tool_call>call:get_time{city:<|"|>Rome<|"|>}<turn|>)");
  EXPECT_EQ(Ask(conversation, "Time?").stop, StopReason::kToolCalls);
  ASSERT_TRUE(conversation.AddToolResult("get_time", "noon"));
  PutIntoMouth(conversation, "Noon.<turn|>");
  Answer(conversation);
  EXPECT_NE(Tokens(conversation).find("}<tool_call|><|tool_response>response"), std::string::npos);
}

}  // namespace
}  // namespace carat
