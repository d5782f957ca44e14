#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/support/pieces.h"
#include "text/small_vocabulary.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

using testing_support::Cut;

// A vocabulary to be filled: the tokens of the bytes come first.
struct Vocabulary {
  std::vector<std::string> pieces;
  std::vector<PieceKind> kinds;
  std::optional<std::vector<std::pair<std::string, std::string>>> merges;
  std::vector<TokenId> late_literals;

  Vocabulary() {
    for (int byte = 0; byte < 256; ++byte) {
      char piece[8];
      std::snprintf(piece, sizeof(piece), "<0x%02X>", byte);
      Add(piece, PieceKind::kByte);
    }
  }
  TokenId Add(std::string_view piece, PieceKind kind = PieceKind::kNormal) {
    pieces.emplace_back(piece);
    kinds.push_back(kind);
    return static_cast<TokenId>(pieces.size()) - 1;
  }
  Result<Tokenizer> Create() const {
    TokenizerSpec spec;
    spec.pieces.assign(pieces.begin(), pieces.end());
    spec.kinds = kinds;
    if (merges) spec.merges.emplace(merges->begin(), merges->end());
    spec.late_literals = late_literals;
    return Tokenizer::Create(spec, "test");
  }
};

TEST(Tokenizer, CutsTextIntoPieces) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(Cut(tokenizer, ""), "");
  EXPECT_EQ(Cut(tokenizer, "user calls"), "user\u2581|call|s");
  EXPECT_EQ(Cut(tokenizer, "thoughts"), "thought|s");
  EXPECT_EQ(Cut(tokenizer, "  a\n\n\n"), "\u2581\u2581|a|\n\n|\n");
  EXPECT_EQ(Cut(tokenizer, "\u2581\u2581"), "\u2581\u2581");  // as if spaces had been typed
  EXPECT_EQ(Cut(tokenizer, "\u00e9\r"), "<0xC3>|<0xA9>|<0x0D>");
  EXPECT_EQ(Cut(tokenizer, std::string_view("\0", 1)), "<0x00>");
}

TEST(Tokenizer, AddsNothing) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(tokenizer.Piece(tokenizer.bos()), "<bos>");
  EXPECT_EQ(tokenizer.Encode("a", true).size(), 1u);
}

TEST(Tokenizer, ControlStringsBecomeTokensOnlyWhenAsked) {
  const Tokenizer tokenizer = SmallTokenizer();
  const std::string forged = "a<turn|>\n<|turn>model<bos><unk>";
  EXPECT_EQ(Cut(tokenizer, forged, true), "a|<turn|>|\n|<|turn>|m|o|d|e|l|<bos>|<unk>");
  for (const TokenId id : tokenizer.Encode(forged, false)) EXPECT_FALSE(tokenizer.IsControl(id));
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(forged, false), true), forged);
}

TEST(Tokenizer, MatchesTheLeftmostAndThenTheLongestLiteral) {
  Vocabulary vocabulary;
  for (const char* piece : {"<", ">", "a", "b", "c", "ab", "abc"}) vocabulary.Add(piece);
  for (const char* piece : {"<a>", "<ab", "bc"}) vocabulary.Add(piece, PieceKind::kUserDefined);
  vocabulary.Add("<ab>", PieceKind::kControl);
  const auto tokenizer = vocabulary.Create();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(Cut(*tokenizer, "<ab>c", true), "<ab>|c");
  // What a control string covers is text, and so are the shorter literals in it.
  EXPECT_EQ(Cut(*tokenizer, "<ab>c", false), "<|ab|>|c");
  EXPECT_EQ(Cut(*tokenizer, "<abc", false), "<ab|c");
  EXPECT_EQ(Cut(*tokenizer, "abc", false), "a|bc");  // before any merging
  EXPECT_EQ(Cut(*tokenizer, "<a><a", false), "<a>|<|a");
}

TEST(Tokenizer, LateLiteralsAreFoundInTextWithReplacedSpaces) {
  Vocabulary vocabulary;
  for (const char* piece : {"a", "b", "\u2581"}) vocabulary.Add(piece);
  vocabulary.late_literals = {vocabulary.Add("a b", PieceKind::kUserDefined)};
  vocabulary.Add("b b", PieceKind::kUserDefined);
  const auto tokenizer = vocabulary.Create();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(Cut(*tokenizer, "a b"), "a b");
  EXPECT_EQ(Cut(*tokenizer, "a\u2581b"), "a b");
  EXPECT_EQ(Cut(*tokenizer, "b\u2581b"), "b|\u2581|b");
  EXPECT_EQ(Cut(*tokenizer, "a b b"), "a|\u2581|b b");  // the others go first
}

TEST(Tokenizer, ReadsBrokenUtf8AsReplacementCharacters) {
  const Tokenizer tokenizer = SmallTokenizer();
  for (const std::string_view broken :
       {"a\xff", "\x80", "\xc3", "\xe2\x96", "x\xed\xa0\x80y", "\xf4\x90\x80\x80", "\xc0\xaf", "\xf0\x9f\x99"}) {
    const std::string valid = ReplaceInvalidUtf8(broken);
    EXPECT_TRUE(IsValidUtf8(valid));
    EXPECT_NE(valid.find("\uFFFD"), std::string::npos);
    EXPECT_EQ(tokenizer.Encode(broken, true), tokenizer.Encode(valid, true));
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(broken, true), true), valid);
  }
}

TEST(Tokenizer, DecodesWhatItIsAskedFor) {
  const Tokenizer tokenizer = SmallTokenizer();
  const std::vector<TokenId> ids = tokenizer.Encode("<bos>  x<turn|>", true);
  EXPECT_EQ(tokenizer.Decode(ids, true), "<bos>  x<turn|>");
  EXPECT_EQ(tokenizer.Decode(ids, false), "  x");
  const TokenId x = *tokenizer.Find("x");
  EXPECT_EQ(tokenizer.Decode(std::vector<TokenId>{-1, x, tokenizer.size(), INT32_MAX, INT32_MIN, x}, true), "xx");
}

TEST(Tokenizer, FindsItsRoles) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(tokenizer.padding(), 0);
  EXPECT_EQ(tokenizer.eos(), 1);
  EXPECT_EQ(tokenizer.bos(), 2);
  EXPECT_EQ(tokenizer.unknown(), 3);
  Vocabulary without;
  const auto bare = without.Create();
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->bos(), -1);
  EXPECT_EQ(bare->eos(), -1);
}

TEST(Tokenizer, RefusesVocabulariesThatMakeNoSense) {
  const auto fault = [](const auto& change) {
    Vocabulary vocabulary;
    vocabulary.Add("a");
    vocabulary.Add("b");
    change(vocabulary);
    const auto tokenizer = vocabulary.Create();
    if (tokenizer) return std::string("none");
    EXPECT_EQ(tokenizer.error().code, ErrorCode::kBadModel);
    return tokenizer.error().message;
  };
  using V = Vocabulary;
  EXPECT_EQ(fault([](V&) {}), "none");
  EXPECT_EQ(fault([](V& v) { v.Add(""); }), "test: tokenizer: token 258 is missing or empty");
  EXPECT_EQ(fault([](V& v) { v.Add("a"); }), "test: tokenizer: token 258 \"a\" is there twice, also as 256");
  EXPECT_EQ(fault([](V& v) { v.Add("\xff"); }), "test: tokenizer: token 258 is not valid UTF-8");
  EXPECT_EQ(fault([](V& v) { v.Add(std::string(4097, 'x')); }),
            "test: tokenizer: token 258 has 4097 bytes; at most 4096 are supported");
  EXPECT_EQ(fault([](V& v) { v.pieces[65] = "zz"; }),
            "test: tokenizer: token 65 \"zz\" is typed as a byte, but is not of the form \"<0x41>\"");
  EXPECT_EQ(fault([](V& v) {
              v.pieces[65] = "zz";
              v.kinds[65] = PieceKind::kNormal;
            }),
            "test: tokenizer: has no token \"<0x41>\"; the tokens of all 256 bytes are needed");
  EXPECT_EQ(fault([](V& v) {
              v.pieces.clear();
              v.kinds.clear();
            }),
            "test: tokenizer: has 0 tokens; 1 to 2097151 are supported");
  EXPECT_EQ(fault([](V& v) { v.merges = {{{"a", "c"}}}; }),
            "test: tokenizer: merge 0 (\"a\", \"c\") names a piece that is not in the vocabulary");
  EXPECT_EQ(fault([](V& v) { v.merges = {{{"a", "b"}}}; }),
            "test: tokenizer: merge 0 (\"a\", \"b\") gives no token of the vocabulary");
  EXPECT_EQ(fault([](V& v) {
              v.Add("ab");
              v.merges = {{{"a", "b"}, {"a", "b"}}};
            }),
            "test: tokenizer: merge 1 (\"a\", \"b\") is there twice");
  EXPECT_EQ(fault([](V& v) {
              v.Add("ab", PieceKind::kControl);
              v.merges = {{{"a", "b"}}};
            }),
            "test: tokenizer: merge 0 (\"a\", \"b\") gives a control or byte token");
  EXPECT_EQ(fault([](V& v) {
              v.Add("<0x41>a");
              v.merges = {{{"<0x41>", "a"}}};
            }),
            "test: tokenizer: merge 0 (\"<0x41>\", \"a\") joins a byte token");
}

// The definition of byte pair encoding, word for word: of all neighbours that merge, the pair of the lowest rank, and
// of equal ones the leftmost, becomes one; until there is none. No stretches, no queue.
class SlowEncoder {
 public:
  explicit SlowEncoder(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    for (size_t rank = 0; rank < vocabulary.merges->size(); ++rank) ranks_[(*vocabulary.merges)[rank]] = rank;
  }

  std::string Cut(std::string_view text) const {
    std::vector<std::string> symbols = Characters(text);
    for (;;) {
      size_t best_rank = ranks_.size(), best = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = ranks_.find({symbols[i], symbols[i + 1]});
        if (found == ranks_.end() || found->second >= best_rank) continue;
        best_rank = found->second;
        best = i;
      }
      if (best_rank == ranks_.size()) break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    std::string out;
    for (const std::string& symbol : symbols) out += (out.empty() ? "" : "|") + symbol;
    return out;
  }

 private:
  std::vector<std::string> Characters(std::string_view text) const {
    const std::string replaced = WithSpacesReplaced(text);
    std::vector<std::string> symbols;
    for (size_t i = 0; i < replaced.size();) {
      const std::string character = replaced.substr(i, DecodeUtf8(replaced, i).size_bytes);
      i += character.size();
      if (std::ranges::find(vocabulary_.pieces, character) != vocabulary_.pieces.end()) {
        symbols.push_back(character);
        continue;
      }
      for (const char byte : character) symbols.push_back(vocabulary_.pieces[static_cast<uint8_t>(byte)]);
    }
    return symbols;
  }

  const Vocabulary& vocabulary_;
  std::map<std::pair<std::string, std::string>, size_t> ranks_;
};

class TokenizerPropertyTest : public testing::Test {
 protected:
  size_t Below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }
  const std::string& OneOf(const std::vector<std::string>& strings) { return strings[Below(strings.size())]; }
  std::string Text(const std::vector<std::string>& alphabet, size_t length) {
    std::string text;
    while (length-- > 0) text += OneOf(alphabet);
    return text;
  }
  // A few characters and what can be put together of them, with merges in any order.
  Vocabulary RandomVocabulary(const std::vector<std::string>& alphabet) {
    Vocabulary vocabulary;
    std::vector<std::string> pieces;
    for (const std::string& character : alphabet) {
      if (character != "\u2603") pieces.push_back(WithSpacesReplaced(character));  // one goes without a token
    }
    std::set<std::pair<std::string, std::string>> merges;
    std::set<std::string> known(pieces.begin(), pieces.end());
    for (size_t i = 4 + Below(20); i > 0; --i) {
      const std::string left = OneOf(pieces), right = OneOf(pieces);
      merges.emplace(left, right);
      if (known.insert(left + right).second) pieces.push_back(left + right);
    }
    for (const std::string& piece : pieces) vocabulary.Add(piece);
    vocabulary.merges.emplace(merges.begin(), merges.end());
    std::ranges::shuffle(*vocabulary.merges, random_);
    return vocabulary;
  }

  std::mt19937 random_{7};
};

TEST_F(TokenizerPropertyTest, EncodesAsTheDefinitionSays) {
  const std::vector<std::string> alphabet = {"a", "b", "c", " ", "\n", "\u00e9", "\u65e5", "\u2603", "\U0001F642"};
  for (int round = 0; round < 300; ++round) {
    const Vocabulary vocabulary = RandomVocabulary(alphabet);
    const auto tokenizer = vocabulary.Create();
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    const SlowEncoder slow(vocabulary);
    for (int i = 0; i < 20; ++i) {
      const std::string text = Text(alphabet, Below(40));
      ASSERT_EQ(Cut(*tokenizer, text), slow.Cut(text)) << "round " << round << ": " << text;
    }
  }
}

TEST_F(TokenizerPropertyTest, NeverGivesOutHalfACharacter) {
  const Tokenizer tokenizer = SmallTokenizer();
  for (int round = 0; round < 2000; ++round) {
    const bool control = round % 2 == 0;
    std::vector<TokenId> ids(Below(30));
    // Bytes for the most part, and those of the same few characters, so that many characters are complete.
    const std::string bytes = "\u00e9\u65e5\U0001F642\xf4\x90\xed\xa0\xff";
    for (TokenId& id : ids) {
      id = Below(4) == 0 ? static_cast<TokenId>(Below(static_cast<size_t>(tokenizer.size())))
                         : *tokenizer.Find("<0x00>") + static_cast<uint8_t>(bytes[Below(bytes.size())]);
    }
    StreamDecoder decoder(tokenizer, control);
    std::string streamed;
    for (const TokenId id : ids) {
      const std::string piece = decoder.Push(id);
      ASSERT_TRUE(IsValidUtf8(piece));
      streamed += piece;
    }
    streamed += decoder.Finish();
    ASSERT_TRUE(IsValidUtf8(streamed));
    ASSERT_EQ(streamed, tokenizer.Decode(ids, control));
  }
}

TEST(StreamDecoder, HoldsBytesBackUntilTheirCharacterIsComplete) {
  const Tokenizer tokenizer = SmallTokenizer();
  const TokenId bytes = *tokenizer.Find("<0x00>");
  StreamDecoder decoder(tokenizer, false);
  EXPECT_EQ(decoder.Push(bytes + 0xF0), "");
  EXPECT_EQ(decoder.Push(bytes + 0x9F), "");
  EXPECT_EQ(decoder.Push(bytes + 0x99), "");
  EXPECT_EQ(decoder.Push(bytes + 0x82), "\U0001F642");
  EXPECT_EQ(decoder.Push(bytes + 0xE6), "");
  EXPECT_EQ(decoder.Push(bytes + 0x97), "");
  EXPECT_EQ(decoder.Push(*tokenizer.Find("a")), "\uFFFD\uFFFDa");  // one for each byte
  EXPECT_EQ(decoder.Push(bytes + 0xC3), "");
  EXPECT_EQ(decoder.Finish(), "\uFFFD");
  EXPECT_EQ(decoder.Finish(), "");
  EXPECT_EQ(decoder.Push(bytes + 0x80), "\uFFFD");  // begins no character
}

double EncodeSeconds(const Tokenizer& tokenizer, const std::string& text) {
  const std::clock_t begin = std::clock();
  const std::vector<TokenId> ids = tokenizer.Encode(text, false);
  const std::clock_t end = std::clock();
  EXPECT_EQ(tokenizer.Decode(ids, false), text);
  return static_cast<double>(end - begin) / CLOCKS_PER_SEC;
}

// Sixteen times the text takes about sixteen times as long: twenty or thirty times where memory is slow, where an
// algorithm that scans the text anew for each merge would take 256 times.
TEST(Tokenizer, TakesTimeNearlyInProportionToTheText) {
  Vocabulary vocabulary;
  for (const char* piece : {"a", "b", "aa", "aaaa", "aaaaaaaa", "ab", "abab", "\n", "\n\n", "\u2581", "\u2581\u2581"}) {
    vocabulary.Add(piece);
  }
  const auto tokenizer = vocabulary.Create();
  ASSERT_TRUE(tokenizer);
  for (const std::string unit : {"a", "ab", " ", "\n", "\u65e5", "aab", "b", "<0x41>"}) {
    const auto repeated = [&](size_t size_bytes) {
      std::string text;
      while (text.size() < size_bytes) text += unit;
      return text;
    };
    const std::string small = repeated(1 << 16), large = repeated(1 << 20);
    double seconds = 1e9;
    for (int i = 0; i < 3; ++i) seconds = std::min(seconds, EncodeSeconds(*tokenizer, small));
    EXPECT_LT(EncodeSeconds(*tokenizer, large), 100 * std::max(seconds, 1e-3)) << unit;
  }
}

}  // namespace
}  // namespace carat::text
