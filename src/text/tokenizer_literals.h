// Finds tokens that are matched literally, before any merging: control strings and user-defined tokens.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "carat/engine.h"

namespace carat::text {

// A trie over bytes. Scanning costs one table look-up for a byte that starts no literal.
class LiteralMatcher {
 public:
  LiteralMatcher() { roots_.fill(0); }
  // The literals must not be empty; of equal ones the lowest id counts.
  explicit LiteralMatcher(std::vector<std::pair<std::string_view, TokenId>> literals);

  struct Match {
    size_t begin = 0, end = 0;
    TokenId id = -1;  // -1: none, begin and end are the text's size
  };
  // The leftmost match that begins at or after `from`, and of those the longest: the rule of Hugging Face `tokenizers`.
  Match Next(std::string_view text, size_t from) const;
  bool empty() const { return nodes_.size() <= 1; }
  uint64_t memory_bytes() const { return nodes_.capacity() * sizeof(Node); }

 private:
  struct Node {
    uint32_t first_child = 0;  // the children stand next to each other, by byte
    uint16_t children = 0;
    uint8_t byte = 0;
    TokenId id = -1;  // of the literal that ends here
  };
  uint32_t Child(uint32_t node, uint8_t byte) const;  // 0 if there is none

  std::vector<Node> nodes_;          // nodes_[0] is the root
  std::array<uint32_t, 256> roots_;  // the root's children by byte, 0 if there is none
};

}  // namespace carat::text
