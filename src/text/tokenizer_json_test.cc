// tokenizer.json: what is read, and what is refused with which words.
#include "tests/support/tokenizer_json.h"

#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "tests/support/pieces.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

using testing_support::Cut;

Json SmallFile() {
  return testing_support::TokenizerJson({"<pad>", "<eos>", "<bos>", "<unk>"},
                                        {"\u2581", "a", "b", "\n", "\"", "\\", "\n\n", "\u2581a", "ab", "\"\\"},
                                        {{"\n", "\n"}, {"\u2581", "a"}, {"a", "b"}, {"\"", "\\"}});
}

Json AddedToken(int id, const char* content) { return {{"id", id}, {"content", content}, {"special", false}}; }

TEST(TokenizerJson, ReadsVocabularyMergesAndAddedTokens) {
  Json file = SmallFile();
  file["added_tokens"].push_back(AddedToken(270, "<b>"));
  for (const bool ascii : {false, true}) {  // with escapes in its strings, and without
    for (const int indent : {-1, 2}) {
      const auto tokenizer = Tokenizer::FromJson(file.dump(indent, ' ', ascii), "t.json");
      ASSERT_TRUE(tokenizer) << tokenizer.error().message;
      EXPECT_EQ(tokenizer->size(), 271);
      EXPECT_EQ(Cut(*tokenizer, "ab a\n\n\n<b>\u00e9\"\\<bos>"),
                "ab|\u2581a|\n\n|\n|<b>|<0xC3>|<0xA9>|\"\\|<0x3C>|b|<0x6F>|<0x73>|<0x3E>");
      EXPECT_EQ(Cut(*tokenizer, "<bos><b>", true), "<bos>|<b>");
      EXPECT_EQ(tokenizer->bos(), 2);
      EXPECT_EQ(tokenizer->unknown(), 3);
    }
  }
}

TEST(TokenizerJson, ReadsMergesAsFilesHadThemUntil2024) {
  Json file = SmallFile();
  file["model"]["merges"] = {"\n \n", "\u2581 a", "a b", "\" \\"};
  const auto tokenizer = Tokenizer::FromJson(file.dump(), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(Cut(*tokenizer, "ab a\n\n"), "ab|\u2581a|\n\n");
}

TEST(TokenizerJson, RolesThatAreGivenGoBeforeTheUsualNames) {
  const auto tokenizer = Tokenizer::FromJson(SmallFile().dump(), "t.json", {.bos = 0, .eos = 260});
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->bos(), 0);
  EXPECT_EQ(tokenizer->eos(), 260);
  EXPECT_EQ(tokenizer->padding(), 0);
  EXPECT_FALSE(Tokenizer::FromJson(SmallFile().dump(), "t.json", {.bos = 270}));
}

// The message for the file that `change` makes of a right one, without the file's name; empty if it is taken.
template <typename Change>
std::string Fault(const Change& change) {
  Json file = SmallFile();
  change(file);
  const auto tokenizer = Tokenizer::FromJson(file.dump(), "dir/t.json");
  if (tokenizer) return "";
  const std::string& message = tokenizer.error().message;
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kBadModel);
  EXPECT_TRUE(message.starts_with("dir/t.json: ")) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  return message.substr(12);
}

TEST(TokenizerJson, RefusesHolesAndTwins) {
  EXPECT_EQ(Fault([](Json&) {}), "");
  EXPECT_EQ(Fault([](Json& file) { file["model"]["vocab"]["ab"] = 270; }), "tokenizer: token 268 is missing or empty");
  EXPECT_EQ(Fault([](Json& file) { file["model"]["vocab"].erase("<0x41>"); }),
            "tokenizer: token 69 is missing or empty");
  EXPECT_EQ(Fault([](Json& file) { file["model"]["vocab"]["ab"] = 5; }),
            "the id 5 has two tokens, \"<0x01>\" and \"ab\"");
  EXPECT_EQ(Fault([](Json& file) { file["added_tokens"].push_back(AddedToken(261, "<b>")); }),
            "the id 261 has two tokens, \"a\" and \"<b>\"");
  EXPECT_EQ(Fault([](Json& file) { file["added_tokens"].push_back(AddedToken(270, "a")); }),
            "tokenizer: token 270 \"a\" is there twice, also as 261");
  EXPECT_EQ(Fault([](Json& file) { file["added_tokens"].push_back(AddedToken(300, "<b>")); }),
            "tokenizer: token 270 is missing or empty");
  EXPECT_EQ(Fault([](Json& file) { file["model"]["vocab"] = Json::object(); }).find("tokenizer: token 4 is missing"),
            std::string::npos);  // only the added tokens are left: the bytes are what is missing
  EXPECT_EQ(Fault([](Json& file) {
              file["model"]["vocab"] = Json::object();
              file["model"]["merges"] = Json::array();
            }),
            "tokenizer: has no token \"<0x00>\"; the tokens of all 256 bytes are needed");
}

TEST(TokenizerJson, RefusesIdsThatNoFileOfThisSizeHas) {
  for (const char* id : {"-1", "1048576", "4294967296", "99999999999999999999", "1e3", "1.5", "007", "\"5\"", "null"}) {
    std::string text = SmallFile().dump();
    const std::string entry = "\"ab\":268";
    text.replace(text.find(entry), entry.size(), std::string("\"ab\":") + id);
    const auto tokenizer = Tokenizer::FromJson(text, "t.json");
    ASSERT_FALSE(tokenizer) << id;
    EXPECT_NE(tokenizer.error().message.find("whole number"), std::string::npos) << tokenizer.error().message;
  }
}

TEST(TokenizerJson, RefusesMergesThatNameNoPieces) {
  EXPECT_EQ(Fault([](Json& file) { file["model"]["merges"].push_back({"a", "x"}); }),
            "tokenizer: merge 4 (\"a\", \"x\") names a piece that is not in the vocabulary");
  EXPECT_EQ(Fault([](Json& file) { file["model"]["merges"].push_back({"b", "a"}); }),
            "tokenizer: merge 4 (\"b\", \"a\") gives no token of the vocabulary");
  EXPECT_EQ(Fault([](Json& file) { file["model"]["merges"].push_back({"a", "b"}); }),
            "tokenizer: merge 4 (\"a\", \"b\") is there twice");
  for (const Json& merge : {Json::array({"a"}), Json::array({"a", "b", "a"}), Json::array({"a", 1}), Json(7),
                            Json("ab"), Json("a b a"), Json(nullptr), Json::array()}) {
    EXPECT_NE(Fault([&](Json& file) { file["model"]["merges"].push_back(merge); }), "") << merge.dump();
  }
}

TEST(TokenizerJson, RefusesOtherKindsOfTokenizersAndSaysWhatTheyAre) {
  const auto with = [](const char* key, const Json& value) {
    return Fault([&](Json& file) { file[Json::json_pointer(key)] = value; });
  };
  EXPECT_EQ(with("/model/type", "Unigram"), "model.type is \"Unigram\"; only \"BPE\" is supported");
  EXPECT_EQ(with("/model/byte_fallback", false), "model.byte_fallback is false; only true is supported");
  EXPECT_EQ(with("/model/ignore_merges", true), "model.ignore_merges is true; only false is supported");
  EXPECT_EQ(with("/model/dropout", 0.1), "model.dropout is 0.1; only none is supported");
  EXPECT_EQ(with("/model/end_of_word_suffix", "</w>"), "model.end_of_word_suffix is \"</w>\"; only none is supported");
  EXPECT_EQ(with("/model/unk_token", "<x>"), "model.unk_token is \"<x>\", which is not in the vocabulary");
  EXPECT_EQ(with("/normalizer", {{"type", "NFC"}}),
            "the normalizer is {\"type\":\"NFC\"}; only the replacement of each space by U+2581 is supported");
  EXPECT_EQ(with("/normalizer", nullptr),
            "the normalizer is null; only the replacement of each space by U+2581 is supported");
  EXPECT_EQ(with("/pre_tokenizer", {{"type", "ByteLevel"}}),
            "the pre_tokenizer is {\"type\":\"ByteLevel\"}; only a split at spaces, or none, is supported");
  EXPECT_EQ(with("/decoder", {{"type", "ByteLevel"}}),
            "the decoder is {\"type\":\"ByteLevel\"}; only the sequence of U+2581 to space, ByteFallback and Fuse is "
            "supported");
  EXPECT_EQ(with("/post_processor", {{"type", "ByteLevel"}}),
            "the post_processor is {\"type\":\"ByteLevel\"}; only TemplateProcessing, or none, is supported");
  EXPECT_EQ(with("/pre_tokenizer", nullptr), "");
  EXPECT_EQ(with("/post_processor", nullptr), "");
}

TEST(TokenizerJson, RefusesWrongTypesEverywhere) {
  const Json file = SmallFile();
  for (const char* key : {"/model",
                          "/model/vocab",
                          "/model/merges",
                          "/model/type",
                          "/model/byte_fallback",
                          "/model/unk_token",
                          "/model/vocab/a",
                          "/model/merges/0",
                          "/model/merges/0/0",
                          "/added_tokens",
                          "/added_tokens/0",
                          "/added_tokens/0/id",
                          "/added_tokens/0/content",
                          "/added_tokens/0/special",
                          "/added_tokens/0/normalized",
                          "/added_tokens/0/lstrip",
                          "/normalizer",
                          "/normalizer/pattern",
                          "/decoder",
                          "/decoder/decoders"}) {
    const Json right = file[Json::json_pointer(key)];
    for (const Json& wrong : {Json(7.5), Json("x y z"), Json::object({{"a", "b"}}), Json::array({true}), Json(true)}) {
      if (wrong.type() == right.type()) continue;
      EXPECT_NE(Fault([&](Json& changed) { changed[Json::json_pointer(key)] = wrong; }), "")
          << key << " " << wrong.dump();
    }
  }
}

TEST(TokenizerJson, RefusesFilesThatLackAPart) {
  for (const char* key : {"model", "normalizer", "decoder"}) {
    EXPECT_EQ(Fault([&](Json& file) { file.erase(key); }),
              "has no \"" + std::string(key) + "\"; the tokenizer.json of a Gemma model is needed");
  }
  for (const char* key : {"vocab", "merges", "byte_fallback"}) {
    EXPECT_EQ(Fault([&](Json& file) { file["model"].erase(key); }),
              "model has no \"" + std::string(key) + "\"; the BPE model of a Gemma tokenizer is needed");
  }
  EXPECT_EQ(Fault([](Json& file) { file["added_tokens"][0].erase("content"); }).find("an added token needs"),
            Fault([](Json& file) { file["added_tokens"][0].erase("id"); }).find("an added token needs"));
  for (const char* key : {"single_word", "lstrip", "rstrip"}) {
    EXPECT_NE(Fault([&](Json& file) { file["added_tokens"][0][key] = true; }).find("which is not supported"),
              std::string::npos);
  }
}

// Cut anywhere, the file is refused.
TEST(TokenizerJson, RefusesEveryPrefix) {
  const std::string text = SmallFile().dump();
  for (size_t size = 0; size < text.size(); ++size) {
    const auto tokenizer = Tokenizer::FromJson(text.substr(0, size), "t.json");
    ASSERT_FALSE(tokenizer) << size;
    ASSERT_TRUE(tokenizer.error().message.starts_with("t.json: ")) << tokenizer.error().message;
  }
  EXPECT_FALSE(Tokenizer::FromJson(text + "x", "t.json"));
}

TEST(TokenizerJson, RefusesMembersThatAreThereTwice) {
  std::string text = SmallFile().dump();
  text.insert(1, "\"model\":{},");
  EXPECT_FALSE(Tokenizer::FromJson(text, "t.json"));
  text = SmallFile().dump();
  const size_t inside = text.find("\"type\":\"BPE\"");
  text.insert(inside, "\"type\":\"BPE\",");
  const auto twice = Tokenizer::FromJson(text, "t.json");
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("is there twice"), std::string::npos) << twice.error().message;
}

// Whatever a file holds, a message is one line of valid UTF-8.
TEST(TokenizerJson, KeepsBrokenBytesOutOfMessages) {
  const std::string text = SmallFile().dump();
  for (const char* place : {"\"String\"", "\"BPE\"", "\"<pad>\"", "\"normalizer\"", "\"a\""}) {
    for (const char* bytes : {"\xff", "\n", "\xe2\x96", "\xed\xa0\x80"}) {
      std::string broken = text;
      broken.insert(broken.find(place) + 1, bytes);
      const auto tokenizer = Tokenizer::FromJson(broken, "t.json");
      ASSERT_FALSE(tokenizer) << place;
      EXPECT_TRUE(IsValidUtf8(tokenizer.error().message)) << place;
      EXPECT_EQ(tokenizer.error().message.find('\n'), std::string::npos) << place;
    }
  }
}

}  // namespace
}  // namespace carat::text
