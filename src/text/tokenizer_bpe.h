// Byte pair encoding of one stretch of text: joins neighbours, the best merge first, until none is left.
#pragma once

#include <cstdint>
#include <vector>

#include "carat/engine.h"
#include "text/tokenizer_merges.h"

namespace carat::text {

// O(n log n) for a stretch of n symbols. Used by one thread; keeps its memory from one stretch to the next.
class PairEncoder {
 public:
  explicit PairEncoder(const MergeTable& merges) : merges_(merges) {}

  void Push(TokenId symbol) { symbols_.push_back({.id = symbol}); }
  // Merges what was pushed, appends the tokens to `out`, and starts afresh. At equal rank the leftmost pair goes first.
  void Flush(std::vector<TokenId>& out);

 private:
  struct Symbol {
    TokenId id = -1;
    int32_t previous = -1, next = -1;     // the living neighbours
    uint32_t rank = MergeTable::kNoRank;  // of the merge with the next one
    TokenId result = -1;                  // of that merge
  };
  void Join(int32_t left);
  void Rate(int32_t left);  // finds the merge of `left` with its next

  const MergeTable& merges_;
  std::vector<Symbol> symbols_;
  // Merges to do, as rank << 32 | place of the left symbol. Those that the text itself offers are sorted once; only
  // those that arise on the way go through a heap, which stays small.
  std::vector<uint64_t> offered_;
  std::vector<uint64_t> arisen_;
};

}  // namespace carat::text
