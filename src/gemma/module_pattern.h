// The regular expressions by which quantization_config speaks of modules.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"

namespace carat::gemma {

// A pattern as Python's `re` means it, as far as such files need: literals, `.`, classes, \d \w \s, ^ $, groups,
// alternatives, repetition, lookahead. It may be a stranger's: time and memory are bounded, whatever it says.
//
// A match is followed as the set of all places that it can have come to, not by trying one way after the other; so
// nothing is tried twice, and it makes no difference what is greedy.
class ModulePattern {
 public:
  static constexpr size_t kMaxPattern = 1024, kMaxName = 255;  // longer names match nothing
  // Places in names that may be looked at, in all uses together of one `work`: about a second.
  static constexpr int64_t kMaxWork = 100'000'000;

  // Error (kBadModel): what is not understood, as the end of a sentence about the pattern.
  static Result<ModulePattern> Parse(std::string_view pattern);

  // Where the first part of `name` that matches begins; npos if none does.
  size_t PlaceIn(std::string_view name, int64_t& work) const;
  // Does a part of `name` match (re.search)? `work` counts up; beyond kMaxWork, the answer means nothing.
  bool Finds(std::string_view name, int64_t& work) const;
  // Does a part match that stands at the start, and ends where a module's name does (should_convert_module)?
  bool Begins(std::string_view name, int64_t& work) const;

 private:
  friend class ModulePatternParser;
  using Places = std::bitset<kMaxName + 1>;  // in front of a character, or behind the last

  enum class Kind : uint8_t { kCharacter, kSequence, kAlternatives, kRepeat, kStart, kEnd, kAhead, kNotAhead };
  struct Node {
    Kind kind = Kind::kSequence;
    std::bitset<256> characters = {};  // of kCharacter: what it matches
    std::vector<int> parts = {};       // nodes
    int min = 0, max = -1;             // of kRepeat; -1: any number
  };

  // Where matches of a node end that begin at `starts`.
  Places Ends(int node, std::string_view name, const Places& starts, int64_t& work) const;
  Places EndsOfRepeat(const Node& node, std::string_view name, Places starts, int64_t& work) const;

  std::vector<Node> nodes_;
  int root_ = 0;
};

}  // namespace carat::gemma
