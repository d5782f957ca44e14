#include "engine/load_tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/support/fetched_data.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/pieces.h"

namespace carat {
namespace {

using testing_support::Cut;
using testing_support::GgufBuilder;
using text::PieceKind;
using text::Tokenizer;

// What a GGUF file says about its tokenizer, to be changed before it is written.
struct Vocabulary {
  std::string architecture = "gemma4", model = "gemma4", pre;
  std::vector<std::string> tokens;
  std::vector<int32_t> types;  // llama.cpp's numbers; empty: the file has none
  std::vector<std::string> merges;
  bool has_merges = true;
  int bos = -1, eos = -1;

  Vocabulary() {
    for (const char* control : {"<pad>", "<eos>", "<bos>", "<unk>"}) Add(control, 3);
    types[3] = 2;
    for (int byte = 0; byte < 256; ++byte) {
      char piece[8];
      std::snprintf(piece, sizeof(piece), "<0x%02X>", byte);
      Add(piece, 6);
    }
    for (const char* piece : {"\u2581", "a", "b", "c", "\n", "<", ">", "|", "t", "u", "r", "n", "\u2581a", "ab", "abc",
                              "\n\n", "\u2581\u2581"}) {
      Add(piece, 1);
    }
    merges = {"\u2581 \u2581", "\n \n", "\u2581 a", "a b", "ab c"};
  }
  int Add(const std::string& piece, int type) {
    tokens.push_back(piece);
    types.push_back(type);
    return static_cast<int>(tokens.size()) - 1;
  }
  std::string Build() const {
    GgufBuilder gguf;
    gguf.String("general.architecture", architecture);
    if (!model.empty()) gguf.String("tokenizer.ggml.model", model);
    if (!pre.empty()) gguf.String("tokenizer.ggml.pre", pre);
    gguf.Add(GgufBuilder::Entry("tokenizer.ggml.tokens", GgufBuilder::kArray, GgufBuilder::StringArray(tokens)));
    if (!types.empty()) {
      std::string payload = GgufBuilder::Raw<uint32_t>(GgufBuilder::kI32) + GgufBuilder::Raw<uint64_t>(types.size());
      for (const int32_t type : types) payload += GgufBuilder::Raw(type);
      gguf.Add(GgufBuilder::Entry("tokenizer.ggml.token_type", GgufBuilder::kArray, payload));
    }
    // Placeholders, as llama.cpp's converter writes them: whoever ranks by them gets another tokenizer.
    std::string scores = GgufBuilder::Raw<uint32_t>(GgufBuilder::kF32) + GgufBuilder::Raw<uint64_t>(tokens.size());
    for (size_t i = 0; i < tokens.size(); ++i) scores += GgufBuilder::Raw(-1000.0f);
    gguf.Add(GgufBuilder::Entry("tokenizer.ggml.scores", GgufBuilder::kArray, scores));
    if (has_merges) {
      gguf.Add(GgufBuilder::Entry("tokenizer.ggml.merges", GgufBuilder::kArray, GgufBuilder::StringArray(merges)));
    }
    if (bos >= 0) gguf.U32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(bos));
    if (eos >= 0) gguf.U32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(eos));
    return gguf.Build();
  }
};

class LoadTokenizerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("carat-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  Result<std::optional<Tokenizer>> LoadFolder() const {
    const auto checkpoint = formats::Checkpoint::OpenForText(folder_);
    if (!checkpoint) return std::unexpected(checkpoint.error());
    return LoadTokenizer(*checkpoint);
  }
  Result<std::optional<Tokenizer>> Load(const Vocabulary& vocabulary) const {
    Write("model.gguf", vocabulary.Build());
    return LoadFolder();
  }
  std::string Fault(const Vocabulary& vocabulary) const {
    const auto tokenizer = Load(vocabulary);
    if (tokenizer) return "none";
    EXPECT_EQ(tokenizer.error().code, ErrorCode::kBadModel);
    const std::string where = (folder_ / "model.gguf").string() + ": ", message = tokenizer.error().message;
    EXPECT_TRUE(message.starts_with(where)) << message;
    return message.substr(std::min(where.size(), message.size()));
  }

  std::filesystem::path folder_;
};

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(LoadTokenizerTest, FollowsTheMergesOfGemma4) {
  Vocabulary vocabulary;
  vocabulary.merges = {"b c", "a b"};  // not what the vocabulary implies
  vocabulary.Add("bc", 1);
  const auto tokenizer = Load(vocabulary);
  ASSERT_TRUE(tokenizer && *tokenizer) << tokenizer.error().message;
  EXPECT_EQ(Cut(**tokenizer, "abc ab"), "a|bc|\u2581|ab");
}

TEST_F(LoadTokenizerTest, RanksByTheVocabularyWhereMergesAreMissingOrPlaceholders) {
  for (const auto& [model, architecture] : {std::pair("gemma4", "gemma4"), {"llama", "gemma4"}, {"llama", "gemma3"}}) {
    Vocabulary vocabulary;
    vocabulary.model = model;
    vocabulary.architecture = architecture;
    vocabulary.has_merges = false;
    const auto without = Load(vocabulary);
    ASSERT_TRUE(without && *without) << without.error().message;
    EXPECT_EQ(Cut(**without, "abc  \n\n\na"), "abc|\u2581\u2581|\n\n|\n|a") << model << architecture;
    vocabulary.has_merges = true;
    vocabulary.merges = {"x y", "y z"};
    const auto placeholders = Load(vocabulary);
    ASSERT_TRUE(placeholders && *placeholders) << placeholders.error().message;
    EXPECT_EQ(Cut(**placeholders, "abc  \n\n\na"), "abc|\u2581\u2581|\n\n|\n|a");
  }
}

// llama.cpp calls some markers user-defined, other producers call all of them normal; whatever the file says, a user's
// text does not become one.
TEST_F(LoadTokenizerTest, KnowsGemma4sControlTokensByName) {
  for (const int type : {1, 3, 4}) {
    Vocabulary vocabulary;
    const int turn = vocabulary.Add("<|turn>", type);
    vocabulary.Add("<b>", 4);  // Gemma 3's user-defined tokens are text in Gemma 4
    const auto tokenizer = Load(vocabulary);
    ASSERT_TRUE(tokenizer && *tokenizer) << tokenizer.error().message;
    EXPECT_EQ(Cut(**tokenizer, "<|turn>", false), "<|||t|u|r|n|>") << type;
    EXPECT_EQ((*tokenizer)->Encode("<|turn>", true), std::vector<TokenId>{turn}) << type;
    EXPECT_EQ(Cut(**tokenizer, "<b>", true), "<|b|>");
  }
}

TEST_F(LoadTokenizerTest, KnowsGemma3sControlTokensByName) {
  Vocabulary vocabulary;
  vocabulary.architecture = "gemma3";
  vocabulary.model = "llama";
  vocabulary.has_merges = false;
  vocabulary.Add("<start_of_turn>", 4);
  vocabulary.Add("<unused0>", 3);
  vocabulary.Add("<b>", 4);
  vocabulary.Add("   ", 4);  // converters write the spaces of such pieces out
  const auto tokenizer = Load(vocabulary);
  ASSERT_TRUE(tokenizer && *tokenizer) << tokenizer.error().message;
  EXPECT_EQ(Cut(**tokenizer, "a<b><unused0>", false), "a|<b>|<unused0>");
  for (const TokenId id : (*tokenizer)->Encode("<start_of_turn>", false)) EXPECT_FALSE((*tokenizer)->IsControl(id));
  EXPECT_EQ(Cut(**tokenizer, "<start_of_turn>", true), "<start_of_turn>");
  EXPECT_TRUE((*tokenizer)->Find("\u2581\u2581\u2581"));
}

TEST_F(LoadTokenizerTest, ManagesWithoutTokenTypes) {
  Vocabulary vocabulary;
  vocabulary.types.clear();
  const auto tokenizer = Load(vocabulary);
  ASSERT_TRUE(tokenizer && *tokenizer) << tokenizer.error().message;
  EXPECT_EQ(Cut(**tokenizer, "abc\u00e9<bos>"), "abc|<0xC3>|<0xA9>|<|b|<0x6F>|<0x73>|>");
  EXPECT_EQ(Cut(**tokenizer, "<bos>", true), "<bos>");
}

TEST_F(LoadTokenizerTest, TakesTheRolesFromTheFile) {
  Vocabulary vocabulary;
  vocabulary.eos = vocabulary.Add("<turn|>", 3);
  const auto tokenizer = Load(vocabulary);
  ASSERT_TRUE(tokenizer && *tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->eos(), vocabulary.eos);
  EXPECT_EQ((*tokenizer)->bos(), 2);  // by its name
}

TEST_F(LoadTokenizerTest, FilesWithoutATokenizerHaveNone) {
  for (const char* model : {"", "none", "no_vocab"}) {
    Vocabulary vocabulary;
    vocabulary.model = model;
    const auto tokenizer = Load(vocabulary);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_FALSE(*tokenizer);
  }
  std::filesystem::remove(folder_ / "model.gguf");
  Write("config.json", "{}");
  const auto tokenizer = LoadFolder();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_FALSE(*tokenizer);
}

TEST_F(LoadTokenizerTest, RefusesDamagedVocabularies) {
  const auto fault = [this](const auto& change) {
    Vocabulary vocabulary;
    change(vocabulary);
    return Fault(vocabulary);
  };
  using V = Vocabulary;
  EXPECT_EQ(fault([](V&) {}), "none");
  EXPECT_EQ(fault([](V& v) { v.model = "gpt2"; }),
            "tokenizer.ggml.model is \"gpt2\" in a file of the architecture \"gemma4\"; the tokenizers of gemma4 and "
            "gemma3 are supported");
  EXPECT_EQ(fault([](V& v) {
              v.model = "llama";
              v.architecture = "llama";
            }),
            "tokenizer.ggml.model is \"llama\" in a file of the architecture \"llama\"; the tokenizers of gemma4 and "
            "gemma3 are supported");
  EXPECT_EQ(fault([](V& v) { v.tokens[261] = ""; }), "tokenizer: token 261 is missing or empty");
  EXPECT_EQ(fault([](V& v) { v.tokens[262] = "a"; }), "tokenizer: token 262 \"a\" is there twice, also as 261");
  EXPECT_EQ(fault([](V& v) { v.types.pop_back(); }), "tokenizer.ggml.token_type has 276 entries for 277 tokens");
  EXPECT_NE(fault([](V& v) { v.types[5] = 77; }).find("tokenizer.ggml.token_type"), std::string::npos);
  EXPECT_NE(fault([](V& v) { v.bos = 277; }).find("tokenizer.ggml.bos_token_id"), std::string::npos);
  EXPECT_EQ(fault([](V& v) { v.merges.emplace_back("a"); }),
            "tokenizer.ggml.merges: \"a\" is not two pieces with a space between them");
  EXPECT_EQ(fault([](V& v) { v.merges.emplace_back("a b c"); }),
            "tokenizer.ggml.merges: \"a b c\" is not two pieces with a space between them");
  EXPECT_EQ(fault([](V& v) { v.merges.emplace_back("a x"); }),
            "tokenizer: merge 5 (\"a\", \"x\") names a piece that is not in the vocabulary");
  EXPECT_EQ(fault([](V& v) {
              v.tokens.clear();
              v.types.clear();
              v.merges.clear();
            }),
            "tokenizer: has 0 tokens; 1 to 2097151 are supported");
}

// The vocabulary of Gemma 4 as a GGUF file has it, with and without its merges: the same tokens as from tokenizer.json.
TEST_F(LoadTokenizerTest, GivesTheTokensOfTheTokenizerJson) {
  const std::filesystem::path path = testing_support::FetchedTokenizer("gemma4");
  if (!std::filesystem::exists(path)) {
    if (testing_support::DataIsRequired()) FAIL() << path << " is missing";
    GTEST_SKIP() << "scripts/fetch_tokenizer.sh fetches the vocabularies";
  }
  const std::string json = ReadFile(path);
  const auto expected = Tokenizer::FromJson(json, path.string());
  ASSERT_TRUE(expected) << expected.error().message;
  Vocabulary vocabulary;
  vocabulary.tokens.clear();
  vocabulary.types.clear();
  for (TokenId id = 0; id < expected->size(); ++id) {
    const PieceKind kind = expected->Kind(id);
    vocabulary.Add(std::string(expected->Piece(id)), kind == PieceKind::kByte      ? 6
                                                     : kind == PieceKind::kControl ? 3
                                                                                   : 1);
  }
  for (const bool merges : {false, true}) {
    vocabulary.has_merges = merges;
    vocabulary.merges.clear();
    if (merges) {
      const auto file = ParseJson(json, path.string());
      ASSERT_TRUE(file) << file.error().message;
      for (const Json& merge : (*file)["model"]["merges"])
        vocabulary.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
      EXPECT_EQ(vocabulary.merges.size(), 514906u);
    }
    const auto tokenizer = Load(vocabulary);
    ASSERT_TRUE(tokenizer && *tokenizer) << tokenizer.error().message;
    const std::string folder = std::string(CARAT_SOURCE_DIR) + "/tests/data/tokenizer/";
    for (const char* name : {"known-answers.json", "random-strings.json"}) {
      const auto records = ParseJson(ReadFile(folder + name), name);
      ASSERT_TRUE(records) << records.error().message;
      for (const Json& record : *records) {
        const auto text = record["text"].get<std::string>();
        for (const bool control : {false, true})
          EXPECT_EQ((*tokenizer)->Encode(text, control), expected->Encode(text, control)) << record["text"].dump();
      }
    }
  }
}

// A file as the community publishes it: scores that mean nothing, no merges.
TEST(LoadedTokenizer, OfRealWeightsGivesTheTokensOfTheTokenizerJson) {
  const std::filesystem::path path = testing_support::DemoWeights();
  if (!std::filesystem::exists(path)) {
    if (testing_support::DataIsRequired()) FAIL() << path << " is missing";
    GTEST_SKIP() << "scripts/fetch_demo_weights.sh fetches the weights";
  }
  const auto checkpoint = formats::Checkpoint::OpenForText(path);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto tokenizer = LoadTokenizer(*checkpoint);
  ASSERT_TRUE(tokenizer && *tokenizer) << tokenizer.error().message;
  const auto records =
      ParseJson(ReadFile(std::string(CARAT_SOURCE_DIR) + "/tests/data/tokenizer/random-strings.json"), "records");
  ASSERT_TRUE(records) << records.error().message;
  for (const Json& record : *records) {
    EXPECT_EQ((*tokenizer)->Encode(record["text"].get<std::string>(), false),
              record["gemma3"].get<std::vector<TokenId>>())
        << record["text"].dump();
  }
}

}  // namespace
}  // namespace carat
