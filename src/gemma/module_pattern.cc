#include "gemma/module_pattern.h"

#include <algorithm>
#include <utility>

#include "base/try.h"

namespace carat::gemma {

class ModulePatternParser {
 public:
  explicit ModulePatternParser(std::string_view text) : text_(text) {}

  Result<ModulePattern> Parse() {
    if (text_.size() > ModulePattern::kMaxPattern) return Refuse("is too long");
    TRY_ASSIGN(out_.root_, Alternatives(0));
    if (at_ < text_.size()) return Refuse("closes a group that was not opened");
    return std::move(out_);
  }

 private:
  using Kind = ModulePattern::Kind;
  using Node = ModulePattern::Node;
  using Set = std::bitset<256>;

  static std::unexpected<Error> Refuse(const std::string& what) { return Fail(ErrorCode::kBadModel, what); }
  bool Take(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  int Add(Node node) {
    out_.nodes_.push_back(std::move(node));
    return static_cast<int>(out_.nodes_.size()) - 1;
  }

  Result<int> Alternatives(int depth) {
    if (depth > 16) return Refuse("has groups within groups, too many");
    Node either{.kind = Kind::kAlternatives};
    do {
      TRY_ASSIGN(const int sequence, Sequence(depth));
      either.parts.push_back(sequence);
    } while (Take("|"));
    return Add(std::move(either));
  }

  Result<int> Sequence(int depth) {
    Node sequence{.kind = Kind::kSequence};
    while (at_ < text_.size() && text_[at_] != '|' && text_[at_] != ')') {
      TRY_ASSIGN(const int atom, Atom(depth));
      TRY_ASSIGN(const int repeated, Repetition(atom));
      sequence.parts.push_back(repeated);
    }
    return Add(std::move(sequence));
  }

  Result<int> Atom(int depth) {
    if (Take("^")) return Add({.kind = Kind::kStart});
    if (Take("$")) return Add({.kind = Kind::kEnd});
    if (Take("(")) return Group(depth);
    if (Take(".")) return Add({.kind = Kind::kCharacter, .characters = ~Set()});
    if (Take("[")) return Class();
    if (std::string_view("*+?{").find(text_[at_]) != std::string_view::npos) return Refuse("repeats nothing");
    TRY_ASSIGN(const Set set, Character());
    return Add({.kind = Kind::kCharacter, .characters = set});
  }

  Result<int> Group(int depth) {
    Kind kind = Kind::kSequence;
    if (Take("?=")) {
      kind = Kind::kAhead;
    } else if (Take("?!")) {
      kind = Kind::kNotAhead;
    } else if (!Take("?:") && Take("?")) {
      return Refuse("has a group of a kind that is not read here");
    }
    TRY_ASSIGN(const int inside, Alternatives(depth + 1));
    if (!Take(")")) return Refuse("leaves a group open");
    return Add({.kind = kind, .parts = {inside}});
  }

  Result<int> Repetition(int atom) {
    Node repeat{.kind = Kind::kRepeat, .parts = {atom}};
    if (Take("*")) {
      repeat.min = 0;
    } else if (Take("+")) {
      repeat.min = 1;
    } else if (Take("?")) {
      repeat.max = 1;
    } else if (Take("{")) {
      TRY_ASSIGN(repeat.min, Count());
      repeat.max = repeat.min;
      if (Take(",")) {
        repeat.max = -1;
        if (!text_.substr(at_).starts_with('}')) {
          TRY_ASSIGN(repeat.max, Count());
        }
      }
      if (!Take("}") || (repeat.max >= 0 && repeat.max < repeat.min)) return Refuse("has a repetition that is none");
    } else {
      return atom;
    }
    Take("?");  // as few as possible: the same places in the end
    if (at_ < text_.size() && std::string_view("*+?{").find(text_[at_]) != std::string_view::npos)
      return Refuse("repeats a repetition");
    return Add(std::move(repeat));
  }

  Result<int> Count() {
    int count = -1;
    for (; at_ < text_.size() && IsDigit(text_[at_]) && count < 1000; ++at_)
      count = std::max(count, 0) * 10 + (text_[at_] - '0');
    if (count < 0 || count > 1000) return Refuse("has a repetition that is none");
    return count;
  }

  Result<int> Class() {
    const bool complement = Take("^");
    Set set;
    for (bool first = true; first || !Take("]"); first = false) {
      if (at_ >= text_.size()) return Refuse("leaves a class open");
      TRY_ASSIGN(Set part, Character());
      const bool range = at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']';
      if (range) {
        ++at_;
        TRY_ASSIGN(const Set last, Character());
        const size_t low = First(part), high = First(last);
        if (part.count() != 1 || last.count() != 1 || low > high) return Refuse("has a range that is none");
        for (size_t c = low; c <= high; ++c) part.set(c);
      }
      set |= part;
    }
    return Add({.kind = Kind::kCharacter, .characters = complement ? ~set : set});
  }

  // One character, or what \d and the like stand for.
  Result<Set> Character() {
    Set set;
    const bool escaped = Take("\\");
    if (at_ >= text_.size()) return Refuse("ends in a backslash");
    const char c = text_[at_++];
    if (!escaped || (!IsDigit(c) && !IsLetter(c))) return set.set(static_cast<unsigned char>(c));
    const char lower = static_cast<char>(c | 0x20);
    for (size_t i = 0; i < 128; ++i) {
      const char each = static_cast<char>(i);
      const bool word = IsDigit(each) || IsLetter(each) || each == '_';
      if (lower == 'd' ? IsDigit(each) : lower == 'w' ? word : each == ' ' || (each >= '\t' && each <= '\r'))
        set.set(i);
    }
    if (lower != 'd' && lower != 'w' && lower != 's')
      return Refuse(std::string("has '\\") + c + "', which is not read here");
    return c == lower ? set : ~set;
  }

  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }
  static bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  static size_t First(const Set& set) {
    size_t i = 0;
    while (i < set.size() && !set[i]) ++i;
    return i;
  }

  std::string_view text_;
  size_t at_ = 0;
  ModulePattern out_;
};

Result<ModulePattern> ModulePattern::Parse(std::string_view pattern) { return ModulePatternParser(pattern).Parse(); }

ModulePattern::Places ModulePattern::Ends(int index, std::string_view name, const Places& starts, int64_t& work) const {
  const Node& node = nodes_[static_cast<size_t>(index)];
  work += static_cast<int64_t>(starts.count()) + 1;
  Places ends;
  if (work > kMaxWork || starts.none()) return ends;
  switch (node.kind) {
    case Kind::kStart:
      ends[0] = starts[0];
      break;
    case Kind::kEnd:
      ends[name.size()] = starts[name.size()];
      break;
    case Kind::kCharacter:
      for (size_t i = starts._Find_first(); i < name.size(); i = starts._Find_next(i))  // libstdc++'s own
        ends[i + 1] = node.characters[static_cast<unsigned char>(name[i])];
      break;
    case Kind::kSequence:
      ends = starts;
      for (const int part : node.parts) {
        if (ends.none()) break;
        ends = Ends(part, name, ends, work);
      }
      break;
    case Kind::kAlternatives:
      for (const int part : node.parts) ends |= Ends(part, name, starts, work);
      break;
    case Kind::kRepeat:
      ends = EndsOfRepeat(node, name, starts, work);
      break;
    case Kind::kAhead:
    case Kind::kNotAhead:
      for (size_t i = starts._Find_first(); i <= name.size(); i = starts._Find_next(i))
        ends[i] = Ends(node.parts[0], name, Places().set(i), work).any() == (node.kind == Kind::kAhead);
      break;
  }
  return ends;
}

ModulePattern::Places ModulePattern::EndsOfRepeat(const Node& node, std::string_view name, Places starts,
                                                  int64_t& work) const {
  // Places only move on: rounds beyond the length of the name change nothing any more.
  const int rounds = static_cast<int>(name.size()) + 1;
  for (int i = 0; i < std::min(node.min, rounds) && starts.any(); ++i) starts = Ends(node.parts[0], name, starts, work);
  Places ends = starts;
  for (int i = node.min; (node.max < 0 || i < node.max) && starts.any(); ++i) {
    starts = Ends(node.parts[0], name, starts, work) & ~ends;  // new ones only
    ends |= starts;
  }
  return ends;
}

size_t ModulePattern::PlaceIn(std::string_view name, int64_t& work) const {
  if (!Finds(name, work)) return std::string_view::npos;
  size_t place = 0;
  while (Ends(root_, name, Places().set(place), work).none() && place < name.size()) ++place;
  return place;
}

bool ModulePattern::Finds(std::string_view name, int64_t& work) const {
  ++work;
  return name.size() <= kMaxName && Ends(root_, name, ~Places() >> (kMaxName - name.size()), work).any();
}

bool ModulePattern::Begins(std::string_view name, int64_t& work) const {
  ++work;
  if (name.size() > kMaxName) return false;
  const Places ends = Ends(root_, name, Places().set(0), work);
  for (size_t i = 0; i <= name.size(); ++i)
    if (ends[i] && (i == name.size() || name[i] == '.' || (i > 0 && name[i - 1] == '.'))) return true;
  return false;
}

}  // namespace carat::gemma
