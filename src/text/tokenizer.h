// Text to token ids and back, as Gemma does it: byte pair encoding over code points (in the manner of SentencePiece),
// spaces written as U+2581, UTF-8 bytes for characters without a token. Equal to Hugging Face `tokenizers` on every
// text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "carat/engine.h"
#include "carat/result.h"
#include "text/tokenizer_literals.h"
#include "text/tokenizer_merges.h"
#include "text/tokenizer_pieces.h"

namespace carat::text {

// Ids with a role; -1: not named, looked for by the usual name ("<bos>", "<eos>", "<unk>", "<pad>").
struct RoleIds {
  TokenId bos = -1, eos = -1, unknown = -1, padding = -1;
};

// What a file says. The views need only live during Create.
struct TokenizerSpec {
  std::vector<std::string_view> pieces;  // by id
  std::vector<PieceKind> kinds;          // by id
  // By rank. None, or a placeholder (see MergeTable): as Gemma's vocabulary implies them.
  std::optional<std::vector<std::pair<std::string_view, std::string_view>>> merges;
  bool allow_placeholder_merges = false;
  // User-defined or control pieces that are looked for after the others, in text whose spaces are replaced.
  std::vector<TokenId> late_literals;
  RoleIds roles;
};

class PairEncoder;

// Immutable after construction; usable from any thread.
class Tokenizer {
 public:
  // `file_name` is for messages. Error: kBadModel for pieces that are missing, broken or there twice, missing byte
  // tokens, merges or ids that name no piece.
  static Result<Tokenizer> Create(const TokenizerSpec& spec, std::string_view file_name);
  // From a tokenizer.json of Hugging Face `tokenizers`. `roles` that are set go before the usual names. Error:
  // kBadModel, also for a tokenizer of another kind than Gemma's, with what was found.
  static Result<Tokenizer> FromJson(std::string_view json, std::string_view file_name, const RoleIds& roles = {});

  // `control`: whether control strings such as "<|turn>" become their tokens; false for text that a user wrote. Adds no
  // BOS. Invalid UTF-8 is read as U+FFFD (see ReplaceInvalidUtf8). O(n log n); at most 2 GiB of text.
  std::vector<TokenId> Encode(std::string_view text, bool control) const;
  // Control tokens as their strings if `control`, else left out. Ids outside the vocabulary give nothing. Equal to what
  // StreamDecoder gives.
  std::string Decode(std::span<const TokenId> ids, bool control) const;

  int size() const { return pieces_.size(); }
  uint64_t memory_bytes() const;  // that its tables take
  std::optional<TokenId> Find(std::string_view piece) const { return pieces_.Find(piece); }
  // Of an id below size().
  std::string_view Piece(TokenId id) const { return pieces_[id]; }
  PieceKind Kind(TokenId id) const { return kinds_[id]; }
  bool IsControl(TokenId id) const { return kinds_[id] == PieceKind::kControl || kinds_[id] == PieceKind::kUnknown; }
  // -1 if the vocabulary has none.
  TokenId bos() const { return roles_.bos; }
  TokenId eos() const { return roles_.eos; }
  TokenId unknown() const { return roles_.unknown; }
  TokenId padding() const { return roles_.padding; }

 private:
  friend class StreamDecoder;
  // Ids of the pieces of one code point: a page for every 256 that have any.
  class CharacterTable {
   public:
    CharacterTable() : pages_(0x1100, 0), ids_(256, -1) {}
    void Set(char32_t character, TokenId id);
    uint64_t memory_bytes() const { return pages_.capacity() * sizeof(uint16_t) + ids_.capacity() * sizeof(TokenId); }
    TokenId operator[](char32_t character) const { return ids_[pages_[character >> 8] * 256u + (character & 255)]; }

   private:
    std::vector<uint16_t> pages_;  // page 0 is the empty one
    std::vector<TokenId> ids_;
  };

  Tokenizer() = default;
  Status FindBytes(std::string_view file_name);
  void FindCharacters();
  Status FindRoles(const RoleIds& roles, std::string_view file_name);
  void FindLiterals(std::span<const TokenId> late);
  // Appends the ids of literals, and calls on_text for what stands between them.
  template <typename OnText>
  void SplitAtLiterals(const LiteralMatcher& matcher, std::string_view text, bool control, std::vector<TokenId>& out,
                       const OnText& on_text) const;
  void EncodeText(std::string_view text, PairEncoder& encoder, std::vector<TokenId>& out) const;

  PieceTable pieces_;
  std::vector<PieceKind> kinds_;
  MergeTable merges_;
  CharacterTable characters_;
  std::array<TokenId, 256> bytes_{};  // by value
  LiteralMatcher literals_;
  LiteralMatcher late_literals_;
  RoleIds roles_;
};

// The tokens of an answer as text, as they come; whole characters only. Byte tokens are held back until their character
// is complete; a byte that cannot become one gives U+FFFD (as in Hugging Face `tokenizers`, one for each).
class StreamDecoder {
 public:
  // `tokenizer` must outlive this. `control` as for Decode.
  StreamDecoder(const Tokenizer& tokenizer, bool control) : tokenizer_(&tokenizer), control_(control) {}
  // The text that has become certain, possibly none; valid UTF-8.
  std::string Push(TokenId id);
  // The end: what was held back.
  std::string Finish();

 private:
  friend class Tokenizer;
  void Push(TokenId id, std::string& out);
  void Flush(std::string& out);

  const Tokenizer* tokenizer_;
  bool control_;
  std::string held_;  // bytes of an incomplete character
};

}  // namespace carat::text
