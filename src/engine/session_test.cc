#include "carat/session.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace carat {
namespace {

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    auto engine =
        Engine::Load(std::string(CARAT_SOURCE_DIR) + "/tests/data/golden/gguf-f32-split/" + "model-00001-of-00003.gguf",
                     {.threads = 1});
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = *engine;
  }

  Session Start(const SessionOptions& options) {
    auto session = Session::Create(engine_, options);
    EXPECT_TRUE(session) << session.error().message;
    return std::move(*session);
  }

  std::shared_ptr<const Engine> engine_;
};

template <typename T>
void ExpectError(const Result<T>& result, ErrorCode code, const std::string& words) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
  EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
}

TEST_F(SessionTest, OptionsOutOfRange) {
  ExpectError(Session::Create(engine_, {.context = 513}), ErrorCode::kUsage,
              "a context of 513 tokens; this model takes 1 to 512");
  ExpectError(Session::Create(engine_, {.context = -1}), ErrorCode::kUsage, "a context of -1 tokens");
  ExpectError(Session::Create(engine_, {.batch = 0}), ErrorCode::kUsage, "a batch of 0 tokens");
  ExpectError(Session::Create(engine_, {.sampling = {.temperature = -1}}), ErrorCode::kUsage, "temperature is -1");
  EXPECT_EQ(Start({}).context(), 512);  // what the model was made for
}

TEST_F(SessionTest, AFullContextIsAnErrorWithNumbers) {
  Session session = Start({.context = 6});
  const std::vector<TokenId> ids = {2, 5, 7, 9};
  ASSERT_TRUE(session.Append(ids));
  ExpectError(
      session.Append(ids), ErrorCode::kDoesNotFit,
      "4 tokens do not fit: the context holds 6, and 4 are in use; a larger --context (at most 512) would work");
  EXPECT_EQ(session.length(), 4);  // as before
  ASSERT_TRUE(session.Append({{11, 13}}));
  ExpectError(session.Append({{17}}), ErrorCode::kDoesNotFit, "6 are in use");
  EXPECT_TRUE(session.Logits());
}

TEST_F(SessionTest, IdsOutsideTheVocabularyAreRefusedBeforeAnythingIsComputed) {
  Session session = Start({});
  ExpectError(session.Append({{2, 3, 64}}), ErrorCode::kUsage, "the token id 64 is outside of the vocabulary of 64");
  ExpectError(session.Append({{2, -1}}), ErrorCode::kUsage, "the token id -1 is outside");
  EXPECT_EQ(session.length(), 0);
  ExpectError(session.Logits(), ErrorCode::kUsage, "a session without tokens has no logits");
  ExpectError(session.Sample(), ErrorCode::kUsage, "a session without tokens has no logits");
}

TEST_F(SessionTest, AnInterruptedPromptKeepsWhatWasComputed) {
  const std::vector<TokenId> ids = {2, 5, 7, 9, 11, 13, 17, 19, 23, 29};
  int reports = 0;
  SessionOptions options = {.batch = 3};
  options.progress = [&](const Progress& progress) {
    EXPECT_EQ(progress.stage, "prefill");
    EXPECT_EQ(progress.total, ids.size());
    return ++reports < 3;  // the first is that it begins
  };
  Session session = Start(options);
  ExpectError(session.Append(ids), ErrorCode::kInterrupted, "interrupted after 6 of 10 tokens");
  EXPECT_EQ(std::vector(session.tokens().begin(), session.tokens().end()), std::vector(ids.begin(), ids.begin() + 6));
  // It is a session like any other: what follows is the same as if nothing had happened.
  Session other = Start({});
  ASSERT_TRUE(other.Append(std::span(ids).first(6)));
  EXPECT_EQ(std::vector(session.Logits()->begin(), session.Logits()->end()),
            std::vector(other.Logits()->begin(), other.Logits()->end()));
  session.set_progress({});
  ASSERT_TRUE(session.Append(std::span(ids).subspan(6)));
  ASSERT_TRUE(other.Append(std::span(ids).subspan(6)));
  EXPECT_EQ(std::vector(session.Logits()->begin(), session.Logits()->end()),
            std::vector(other.Logits()->begin(), other.Logits()->end()));
}

TEST_F(SessionTest, RollsBackWithinItsTokensOnly) {
  Session session = Start({});
  ASSERT_TRUE(session.Append({{2, 3, 4}}));
  ExpectError(session.Truncate(4), ErrorCode::kUsage, "cannot go back to 4 tokens: there are 3");
  ExpectError(session.Truncate(-1), ErrorCode::kUsage, "cannot go back to -1 tokens");
  ASSERT_TRUE(session.Truncate(0));
  ExpectError(session.Logits(), ErrorCode::kUsage, "a session without tokens has no logits");
}

TEST_F(SessionTest, AppendingNothingChangesNothing) {
  Session session = Start({});
  ASSERT_TRUE(session.Append({{2, 3, 4}}));
  const std::vector<float> before(session.Logits()->begin(), session.Logits()->end());
  ASSERT_TRUE(session.Append({}));
  EXPECT_EQ(session.length(), 3);
  EXPECT_EQ(std::vector(session.Logits()->begin(), session.Logits()->end()), before);
}

}  // namespace
}  // namespace carat
