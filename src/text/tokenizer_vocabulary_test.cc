// The tokenizer on the vocabularies of Gemma 3 and Gemma 4: the answers of Hugging Face `tokenizers`, and inputs that
// take other tokenizers minutes.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/support/fetched_data.h"
#include "text/tokenizer.h"

namespace carat::text {
namespace {

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Json ReadAnswers(const std::string& name) {
  const auto json = ParseJson(ReadFile(std::string(CARAT_SOURCE_DIR) + "/tests/data/tokenizer/" + name), name);
  EXPECT_TRUE(json) << json.error().message;
  return json ? *json : Json::array();
}

// What a text comes back as from its tokens.
std::string Readable(std::string text) {
  for (size_t at = 0; (at = text.find(kSpacePiece, at)) != text.npos;) text.replace(at, kSpacePiece.size(), " ");
  return text;
}

class TokenizerVocabularyTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const char* name : {"gemma3", "gemma4"}) {
      const std::filesystem::path path = testing_support::FetchedTokenizer(name);
      if (!std::filesystem::exists(path)) continue;
      auto tokenizer = Tokenizer::FromJson(ReadFile(path), path.string());
      ASSERT_TRUE(tokenizer) << tokenizer.error().message;
      (std::string(name) == "gemma3" ? gemma3_ : gemma4_) = std::make_unique<Tokenizer>(std::move(*tokenizer));
    }
  }
  static void TearDownTestSuite() {
    gemma3_.reset();
    gemma4_.reset();
  }
  void SetUp() override {
    if (gemma3_ && gemma4_) return;
    if (testing_support::DataIsRequired()) {
      FAIL() << testing_support::FetchedTokenizer("gemma4") << " or its sibling is missing";
    }
    GTEST_SKIP() << "scripts/fetch_tokenizer.sh fetches the vocabularies";
  }

  static std::unique_ptr<Tokenizer> gemma3_, gemma4_;
};
std::unique_ptr<Tokenizer> TokenizerVocabularyTest::gemma3_, TokenizerVocabularyTest::gemma4_;

// Records {text, ids, model, source}, see the specification of the tokenizer. Some are of Gemma 3, and some of Gemma 4
// with control strings that stay text.
TEST_F(TokenizerVocabularyTest, GiveTheKnownAnswers) {
  const Json records = ReadAnswers("known-answers.json");
  EXPECT_EQ(records.size(), 156u);
  for (const Json& record : records) {
    const auto model = record["model"].get<std::string>();
    const auto text = record["text"].get<std::string>();
    const Tokenizer& tokenizer = model.starts_with("gemma-3") ? *gemma3_ : *gemma4_;
    const bool control = model.find("NOT recognised") == model.npos;
    const std::vector<TokenId> ids = tokenizer.Encode(text, control);
    EXPECT_EQ(ids, record["ids"].get<std::vector<TokenId>>()) << model << ": " << text;
    EXPECT_EQ(tokenizer.Decode(ids, true), Readable(text));
  }
}

// Made by tools/reference/tokenizer_differential.py: {text, gemma3, gemma4}, and gemma3_control, gemma4_control where
// control strings as tokens make a difference.
TEST_F(TokenizerVocabularyTest, GiveTheAnswersToRandomStrings) {
  const Json records = ReadAnswers("random-strings.json");
  EXPECT_GE(records.size(), 300u);
  for (const Json& record : records) {
    const auto text = record["text"].get<std::string>();
    for (const auto& [name, tokenizer] : {std::pair("gemma3", gemma3_.get()), {"gemma4", gemma4_.get()}}) {
      for (const bool control : {false, true}) {
        const std::string with_control = std::string(name) + "_control";
        const std::string key = control && record.contains(with_control) ? with_control : name;
        const std::vector<TokenId> ids = tokenizer->Encode(text, control);
        EXPECT_EQ(ids, record[key].get<std::vector<TokenId>>()) << key << ": " << record["text"].dump();
        EXPECT_EQ(tokenizer->Decode(ids, true), Readable(text));
      }
    }
  }
}

// GGUF files may lack the merges: the vocabulary implies them.
TEST_F(TokenizerVocabularyTest, ImplyTheirMerges) {
  for (const Tokenizer* listed : {gemma3_.get(), gemma4_.get()}) {
    TokenizerSpec spec;
    for (TokenId id = 0; id < listed->size(); ++id) {
      spec.pieces.push_back(listed->Piece(id));
      spec.kinds.push_back(listed->Kind(id));
    }
    const auto implied = Tokenizer::Create(spec, "implied");
    ASSERT_TRUE(implied) << implied.error().message;
    for (const char* name : {"known-answers.json", "random-strings.json"}) {
      for (const Json& record : ReadAnswers(name)) {
        const auto text = record["text"].get<std::string>();
        EXPECT_EQ(implied->Encode(text, true), listed->Encode(text, true)) << record["text"].dump();
      }
    }
  }
}

TEST_F(TokenizerVocabularyTest, NameTheRolesThatTheModelsHave) {
  for (const Tokenizer* tokenizer : {gemma3_.get(), gemma4_.get()}) {
    EXPECT_EQ(tokenizer->padding(), 0);
    EXPECT_EQ(tokenizer->eos(), 1);
    EXPECT_EQ(tokenizer->bos(), 2);
    EXPECT_EQ(tokenizer->unknown(), 3);
  }
  EXPECT_EQ(gemma3_->size(), 262145);
  EXPECT_EQ(gemma4_->size(), 262144);
  EXPECT_EQ(gemma4_->Find("<|turn>"), 105);
  EXPECT_EQ(gemma3_->Find("<start_of_turn>"), 105);
}

// No tool, page or file of the user becomes a control token, whatever it says.
TEST_F(TokenizerVocabularyTest, ControlStringsInTextStayText) {
  for (const Tokenizer* tokenizer : {gemma3_.get(), gemma4_.get()}) {
    std::string all;
    size_t count = 0;
    for (TokenId id = 0; id < tokenizer->size(); ++id) {
      if (!tokenizer->IsControl(id)) continue;
      all += tokenizer->Piece(id);
      ++count;
    }
    EXPECT_GE(count, 9u);
    for (const TokenId id : tokenizer->Encode(all, false)) EXPECT_FALSE(tokenizer->IsControl(id));
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(all, false), true), all);
    EXPECT_EQ(tokenizer->Encode(all, true).size(), count);
  }
}

std::string Repeated(std::string_view unit, size_t count) {
  std::string text;
  while (count-- > 0) text += unit;
  return text;
}

TEST_F(TokenizerVocabularyTest, TakeAMegabyteInOneGo) {
  const auto check = [&](const std::string& text, size_t tokens) {
    const std::vector<TokenId> ids = gemma4_->Encode(text, false);
    if (tokens > 0) {
      EXPECT_EQ(ids.size(), tokens) << text.substr(0, 20);
    }
    EXPECT_EQ(gemma4_->Decode(ids, false), text) << text.substr(0, 20);
  };
  check(Repeated("a", 100000), 12500);
  check(Repeated("a", 1000000), 125000);
  check(Repeated(" ", 1000000), (1000000 + 30) / 31);
  check(Repeated("\n", 1000000), (1000000 + 30) / 31);
  check(Repeated("\t", 1000000), (1000000 + 30) / 31);
  check(Repeated("\x01", 1000000), 1000000);  // no token of its own
  check(Repeated("\u65e5\u672c\u8a9e", 100000), 0);
  check(Repeated("> </", 250000), 0);  // the one merge across a space
  check(Repeated("<|turn>", 150000), 0);
  check(Repeated("The quick brown fox. ", 50000), 0);
  std::string base64;  // a line without a place to cut
  uint32_t state = 1;
  while (base64.size() < 1000000) {
    state = state * 1664525 + 1013904223;
    base64 += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[state >> 26];
  }
  check(base64, 0);
}

}  // namespace
}  // namespace carat::text
