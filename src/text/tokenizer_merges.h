// Which two neighbouring tokens become one, and in what order of preference.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "carat/engine.h"
#include "carat/result.h"
#include "text/tokenizer_pieces.h"

namespace carat::text {

class MergeTable {
 public:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  struct Merge {
    uint32_t rank = kNoRank;  // lower goes first
    TokenId result = -1;
  };

  // Merges as pairs of pieces, by rank. Error: kBadModel for merges that name unknown pieces, whose result is unknown
  // or a control or byte token, or that are there twice. If `placeholder` is not null, a list of which no merge names
  // known pieces is taken as a placeholder (files made for measurements have them) and reported there; the table is
  // empty.
  static Result<MergeTable> FromList(std::span<const std::pair<std::string_view, std::string_view>> merges,
                                     const PieceTable& pieces, std::span<const PieceKind> kinds,
                                     std::string_view file_name, bool* placeholder);

  // The merges that Gemma's vocabulary implies, for files that carry none: every split of every ordinary piece into two
  // pieces, ranked by the id of the result; before them, longest first, the runs of newlines, tabs and spaces. Equal,
  // on every text, to the list in Gemma's tokenizer.json. Error: kBadModel for more merges than there is room for.
  static Result<MergeTable> FromVocabulary(const PieceTable& pieces, std::span<const PieceKind> kinds,
                                           std::string_view file_name);

  // kNoRank if the two do not merge.
  Merge Find(TokenId left, TokenId right) const;
  // Whether some merge joins a piece that ends in `left` to one that begins with `right`. Where none does, a text can
  // be cut in two without changing its tokens.
  bool MayJoin(char32_t left, char32_t right) const;
  size_t size() const { return size_; }
  uint64_t memory_bytes() const {
    return slots_.capacity() * sizeof(Slot) + results_.capacity() * sizeof(TokenId) +
           joints_.capacity() * sizeof(uint64_t);
  }

 private:
  // The ids of a pair and, in what is left of 64 bits, its rank: half a million merges take 8 MB.
  using Slot = uint64_t;
  static constexpr int kRankBits = 64 - 2 * kPieceBits;
  static constexpr Slot kEmpty = UINT64_MAX;
  static constexpr size_t kMaxMerges = (size_t{1} << kRankBits) - 1;
  static Slot PairOf(TokenId left, TokenId right) {
    return static_cast<Slot>(left) << kPieceBits | static_cast<Slot>(right);
  }
  static Status CheckCount(size_t merges, std::string_view file_name);
  void Reserve(size_t merges);
  // False if the pair is there already.
  bool Add(TokenId left, TokenId right, Merge merge);
  void AddJoint(std::string_view left, std::string_view right);
  size_t Home(TokenId left, TokenId right) const;

  std::vector<Slot> slots_;       // two thirds full at most; linear probing
  std::vector<TokenId> results_;  // by rank
  size_t size_ = 0;
  std::vector<uint64_t> joints_;  // pairs of code points; a power of two, at most half full; 0: empty
  size_t joint_count_ = 0;
};

}  // namespace carat::text
