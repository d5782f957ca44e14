#include "text/tokenizer_literals.h"

#include <algorithm>

#include "base/check.h"

namespace carat::text {

LiteralMatcher::LiteralMatcher(std::vector<std::pair<std::string_view, TokenId>> literals) {
  roots_.fill(0);
  std::sort(literals.begin(), literals.end());
  // Breadth first over ranges of literals with a common prefix, so that the children of a node get adjacent places.
  struct Range {
    uint32_t node;
    size_t begin, end, depth;
  };
  nodes_.emplace_back();
  std::vector<Range> ranges = {{0, 0, literals.size(), 0}};
  for (size_t next = 0; next < ranges.size(); ++next) {
    auto [node, begin, end, depth] = ranges[next];
    for (; begin < end && literals[begin].first.size() == depth; ++begin) {
      CHECK(depth > 0);
      if (nodes_[node].id < 0) nodes_[node].id = literals[begin].second;
    }
    nodes_[node].first_child = static_cast<uint32_t>(nodes_.size());
    while (begin < end) {
      const char byte = literals[begin].first[depth];
      size_t stop = begin + 1;
      while (stop < end && literals[stop].first[depth] == byte) ++stop;
      ranges.push_back({static_cast<uint32_t>(nodes_.size()), begin, stop, depth + 1});
      nodes_.push_back({.byte = static_cast<uint8_t>(byte)});
      ++nodes_[node].children;
      begin = stop;
    }
  }
  for (uint32_t i = 0; i < nodes_[0].children; ++i) {
    const uint32_t child = nodes_[0].first_child + i;
    roots_[nodes_[child].byte] = child;
  }
}

uint32_t LiteralMatcher::Child(uint32_t node, uint8_t byte) const {
  const auto begin = nodes_.begin() + nodes_[node].first_child;
  const auto end = begin + nodes_[node].children;
  const auto found = std::lower_bound(begin, end, byte, [](const Node& n, uint8_t b) { return n.byte < b; });
  return found != end && found->byte == byte ? static_cast<uint32_t>(found - nodes_.begin()) : 0;
}

LiteralMatcher::Match LiteralMatcher::Next(std::string_view text, size_t from) const {
  const auto byte_at = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  for (size_t begin = from; begin < text.size(); ++begin) {
    uint32_t node = roots_[byte_at(begin)];
    Match longest;
    for (size_t i = begin + 1; node != 0; ++i) {
      if (nodes_[node].id >= 0) longest = {begin, i, nodes_[node].id};
      node = i < text.size() ? Child(node, byte_at(i)) : 0;
    }
    if (longest.id >= 0) return longest;
  }
  return {text.size(), text.size(), -1};
}

}  // namespace carat::text
