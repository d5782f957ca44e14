// For tests of conversations, with the tiny chat models of tests/data/chat-models (tools/reference/chat_model.py),
// which know a few answers; where a test needs a model to say something else, it says it for the model.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "carat/conversation.h"
#include "engine/conversation_impl.h"

namespace carat {

inline constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "get_time", "description": "The time"}}])";

inline std::shared_ptr<const Engine> LoadEngine(const std::string& name) {
  static std::map<std::string, std::shared_ptr<const Engine>> engines;
  std::shared_ptr<const Engine>& engine = engines[name];
  if (engine == nullptr) {
    auto loaded = Engine::Load(std::string(CARAT_SOURCE_DIR) + "/tests/data/" + name);
    EXPECT_TRUE(loaded) << loaded.error().message;
    engine = *loaded;
  }
  return engine;
}

inline Session NewSession(const std::string& model = "chat-models/gemma4", int context = 0, float temperature = 0) {
  SessionOptions options;
  options.context = context;
  options.sampling.temperature = temperature;
  options.batch = 32;
  auto session = Session::Create(LoadEngine(model), options);
  EXPECT_TRUE(session) << session.error().message;
  return std::move(*session);
}

inline Conversation NewConversation(const ConversationOptions& options = {}, Session session = NewSession()) {
  auto conversation = Conversation::Create(std::move(session), options);
  EXPECT_TRUE(conversation) << conversation.error().message;
  return std::move(*conversation);
}

// What the model has seen and said.
inline std::string Tokens(const Conversation& conversation) {
  const Session& session = conversation.session();
  return *session.engine().Detokenize(session.tokens(), /*control=*/true);
}

// Makes the model say `text`.
inline void PutIntoMouth(Conversation& conversation, std::string_view text) {
  const auto ids = *conversation.session().engine().Tokenize(text, /*control=*/true);
  conversation.impl().choose = [ids, next = size_t{0}](Session&) mutable -> Result<TokenId> {
    EXPECT_LT(next, ids.size()) << "the script is over";
    return ids[std::min(next++, ids.size() - 1)];
  };
}

inline Reply Answer(Conversation& conversation, const ReplyCallback& on_event = {}) {
  auto reply = conversation.Generate(on_event);
  EXPECT_TRUE(reply) << reply.error().message;
  return reply ? *reply : Reply();
}

inline Reply Ask(Conversation& conversation, std::string_view question) {
  const Status added = conversation.AddUser(question);
  EXPECT_TRUE(added) << added.error().message;
  return Answer(conversation);
}

inline std::vector<float> Logits(Conversation& conversation) {
  const std::span<const float> logits = *conversation.session().Logits();
  return {logits.begin(), logits.end()};
}

// Another conversation, with a session of its own, that begins with the history of `conversation`.
inline Conversation Copy(const Conversation& conversation) {
  Conversation copy = NewConversation(conversation.options());
  const Status added = copy.AddMessages(conversation.MessagesJson());
  EXPECT_TRUE(added) << added.error().message;
  return copy;
}

// Asks the same in `conversation` and in one that starts afresh with its history: tokens and logits must not differ in
// a bit, though only the first reuses what it had computed.
inline Reply AskBoth(Conversation& conversation, std::string_view question) {
  Conversation fresh = Copy(conversation);
  const Reply expected = Ask(fresh, question);
  const Reply reply = Ask(conversation, question);
  EXPECT_EQ(reply.text, expected.text);
  EXPECT_EQ(Tokens(conversation), Tokens(fresh));
  EXPECT_EQ(Logits(conversation), Logits(fresh));
  EXPECT_EQ(expected.reused_tokens, 0);
  EXPECT_EQ(reply.prompt_tokens, expected.prompt_tokens);
  return reply;
}

}  // namespace carat
