// Continuation without a chat format.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "carat/conversation.h"
#include "engine/session_impl.h"

namespace carat {
namespace {

std::shared_ptr<const Engine> TheEngine() {
  static const auto engine = Engine::Load(std::string(CARAT_SOURCE_DIR) + "/tests/data/chat-models/gemma4");
  EXPECT_TRUE(engine) << engine.error().message;
  return *engine;
}

Session NewSession(int context = 0) {
  SessionOptions options;
  options.context = context;
  options.sampling.temperature = 0;
  auto session = Session::Create(TheEngine(), options);
  EXPECT_TRUE(session);
  return std::move(*session);
}

TEST(ContinueTextTest, GoesOnWithTheLikeliestTokens) {
  Session session = NewSession();
  std::string heard;
  const auto reply = ContinueText(session, "ab", 12, [&](const ReplyEvent& event) {
    heard += event.text;
    return true;
  });
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->stop, StopReason::kMaxTokens);
  EXPECT_EQ(reply->answer_tokens, 12);
  EXPECT_EQ(heard, reply->text);

  // The plain way.
  std::vector<TokenId> ids = *TheEngine()->Tokenize("ab");
  ids.insert(ids.begin(), TheEngine()->bos_id());
  EXPECT_EQ(reply->prompt_tokens, static_cast<int>(ids.size()));
  Session plain = NewSession();
  ASSERT_TRUE(plain.Append(ids));
  std::vector<TokenId> said;
  for (int i = 0; i < 12; ++i) {
    said.push_back(*plain.Sample());
    ASSERT_TRUE(plain.Append({&said.back(), 1}));
  }
  EXPECT_TRUE(std::ranges::equal(session.tokens(), plain.tokens()));
  EXPECT_EQ(reply->text, *TheEngine()->Detokenize(said));
}

TEST(ContinueTextTest, GoesOnWhereItStopped) {
  Session whole = NewSession(), parts = NewSession();
  ASSERT_TRUE(ContinueText(whole, "ab", 12));
  ASSERT_TRUE(ContinueText(parts, "ab", 5));
  const auto reply = ContinueText(parts, "", 7);
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->reused_tokens, reply->prompt_tokens - 1);  // the last token before waited to be computed
  EXPECT_TRUE(std::ranges::equal(whole.tokens(), parts.tokens()));
}

// Behind the last token of an answer nothing is chosen: it costs nothing until the session goes on.
TEST(ContinueTextTest, DoesNotComputeALastToken) {
  Session session = NewSession();
  const auto reply = ContinueText(session, "ab", 5);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->answer_tokens, 5);
  EXPECT_EQ(reply->decoded_tokens, 4);
  EXPECT_EQ(session.length(), reply->prompt_tokens + 5);
  EXPECT_EQ(session.impl().decoder->cache().length(), session.length() - 1);
}

TEST(ContinueTextTest, ATokenThatWaitsIsComputedWithWhatComesNext) {
  Session plain = NewSession();
  ASSERT_TRUE(ContinueText(plain, "ab", 6));
  const std::vector<TokenId> ids(plain.tokens().begin(), plain.tokens().end() - 1);
  const std::vector<TokenId> more = {ids[1], ids[2]};
  const auto logits = [](Session& session) {
    const auto row = session.Logits();
    EXPECT_TRUE(row);
    return std::vector<float>(row->begin(), row->end());
  };
  const auto expect_same = [&](Session& session, std::span<const TokenId> all) {
    Session fresh = NewSession();
    ASSERT_TRUE(fresh.Append(all));
    EXPECT_TRUE(std::ranges::equal(session.tokens(), all));
    EXPECT_EQ(logits(session), logits(fresh));
  };
  std::vector<TokenId> all = ids;
  const auto answered = [&] {
    Session session = NewSession();
    EXPECT_TRUE(ContinueText(session, "ab", 5));
    return session;
  };
  Session session = answered();
  expect_same(session, ids);  // for its own logits
  session = answered();
  ASSERT_TRUE(session.Truncate(session.length() - 1));
  expect_same(session, std::span(ids).first(ids.size() - 1));
  session = answered();
  ASSERT_TRUE(session.Append({}));
  EXPECT_EQ(session.impl().decoder->cache().length(), session.length());
  all.insert(all.end(), more.begin(), more.end());
  session = answered();
  ASSERT_TRUE(session.Append(more));
  expect_same(session, all);
  session = answered();
  std::vector<int64_t> rows;
  ASSERT_TRUE(session.AppendWithLogits(more, [&](int64_t first, std::span<const float>) { rows.push_back(first); }));
  EXPECT_EQ(rows, std::vector<int64_t>{0});
  expect_same(session, all);
  session = answered();
  session.set_progress([](const Progress&) { return false; });
  const std::vector<TokenId> many(600, ids[1]);
  EXPECT_EQ(session.Append(many).error().code, ErrorCode::kInterrupted);
  session.set_progress({});
  expect_same(session, ids);
}

TEST(ContinueTextTest, StopsWhenToldTo) {
  Session session = NewSession();
  int tokens = 0;
  const auto reply = ContinueText(session, "ab", 0, [&](const ReplyEvent&) { return ++tokens < 3; });
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->stop, StopReason::kCancelled);
  EXPECT_EQ(reply->answer_tokens, 3);
}

TEST(ContinueTextTest, StopsWhenTheContextIsFull) {
  Session session = NewSession(8);
  const auto reply = ContinueText(session, "ab");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->stop, StopReason::kContextFull);
  EXPECT_EQ(reply->prompt_tokens + reply->answer_tokens, 8);
  const auto full = ContinueText(session, "");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kDoesNotFit);
}

TEST(ContinueTextTest, RefusesWhatMakesNoSense) {
  Session session = NewSession();
  EXPECT_EQ(ContinueText(session, "a", -1).error().code, ErrorCode::kUsage);
  EXPECT_EQ(session.length(), 0);
  const auto engine = Engine::Load(std::string(CARAT_SOURCE_DIR) + "/tests/data/golden/hf-e2b/model");
  ASSERT_TRUE(engine);
  auto other = Session::Create(*engine);
  ASSERT_TRUE(other);
  EXPECT_NE(ContinueText(*other, "a").error().message.find("no tokenizer"), std::string::npos);
}

}  // namespace
}  // namespace carat
