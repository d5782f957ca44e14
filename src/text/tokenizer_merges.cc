#include "text/tokenizer_merges.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <tuple>

#include "base/try.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;  // the golden ratio: spreads neighbouring keys

uint64_t JointKey(char32_t left, char32_t right) { return uint64_t{left} << 32 | right | uint64_t{1} << 63; }

char32_t FirstCodePoint(std::string_view text) { return DecodeUtf8(text, 0).value; }

char32_t LastCodePoint(std::string_view text) {
  size_t i = text.size() - 1;
  while (i > 0 && (static_cast<uint8_t>(text[i]) & 0xC0) == 0x80) --i;
  return DecodeUtf8(text, i).value;
}

bool IsControlOrByte(PieceKind kind) {
  return kind == PieceKind::kControl || kind == PieceKind::kUnknown || kind == PieceKind::kByte;
}

// How many times a piece repeats one of the characters whose runs Gemma merges first; 0 if it is no such run.
size_t RunLength(std::string_view piece) {
  for (const std::string_view unit : {std::string_view("\n"), std::string_view("\t"), kSpacePiece}) {
    if (!piece.starts_with(unit) || piece.size() % unit.size() != 0) continue;
    size_t length = 0;
    while (length * unit.size() < piece.size() && piece.substr(length * unit.size(), unit.size()) == unit) ++length;
    if (length * unit.size() == piece.size()) return length;
  }
  return 0;
}

// Gemma's list has half a million merges, and looking up their pieces is most of the time that it takes to load the
// tokenizer: nearly all of it waiting for memory. A block at a time, the waits overlap.
constexpr size_t kBlock = 64;

// Longer pieces are not split to find out which merges they imply: that takes time in the square of their length, and
// the longest of Gemma's has 93 bytes.
constexpr size_t kMaxImpliedBytes = 256;

// Ids of the pieces of at most kBlock merges; -1 if there are none.
void FindPieces(std::span<const std::pair<std::string_view, std::string_view>> merges, const PieceTable& pieces,
                std::span<TokenId, kBlock> left_ids, std::span<TokenId, kBlock> right_ids) {
  std::array<uint64_t, kBlock> left_hashes, right_hashes;
  for (size_t i = 0; i < merges.size(); ++i) {
    left_hashes[i] = pieces.Prefetch(merges[i].first);
    right_hashes[i] = pieces.Prefetch(merges[i].second);
  }
  for (size_t i = 0; i < merges.size(); ++i) {
    left_ids[i] = pieces.Find(merges[i].first, left_hashes[i]).value_or(-1);
    right_ids[i] = pieces.Find(merges[i].second, right_hashes[i]).value_or(-1);
  }
}

}  // namespace

Status MergeTable::CheckCount(size_t merges, std::string_view file_name) {
  if (merges <= kMaxMerges) return {};
  return Fail(ErrorCode::kBadModel, std::string(file_name) + ": tokenizer: has " + std::to_string(merges) +
                                        " merges; at most " + std::to_string(kMaxMerges) + " are supported");
}

void MergeTable::Reserve(size_t merges) {
  slots_.assign(merges + merges / 2 + 1, kEmpty);
  results_.assign(merges, -1);
  joints_.assign(1024, 0);
}

size_t MergeTable::Home(TokenId left, TokenId right) const {
  const uint64_t hash = (static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right)) * kMultiplier;
  // The upper half of the hash, scaled to the size of the table.
  return static_cast<size_t>(((hash ^ hash << 29) >> 32) * slots_.size() >> 32);
}

bool MergeTable::Add(TokenId left, TokenId right, Merge merge) {
  size_t slot = Home(left, right);
  const Slot pair = PairOf(left, right);
  for (; slots_[slot] != kEmpty; slot = slot + 1 == slots_.size() ? 0 : slot + 1) {
    if (slots_[slot] >> kRankBits == pair) return false;
  }
  slots_[slot] = pair << kRankBits | merge.rank;
  results_[merge.rank] = merge.result;
  ++size_;
  return true;
}

MergeTable::Merge MergeTable::Find(TokenId left, TokenId right) const {
  if (size_ == 0) return {};
  const Slot pair = PairOf(left, right);
  for (size_t slot = Home(left, right); slots_[slot] != kEmpty; slot = slot + 1 == slots_.size() ? 0 : slot + 1) {
    if (slots_[slot] >> kRankBits != pair) continue;
    const auto rank = static_cast<uint32_t>(slots_[slot] & kMaxMerges);
    return {rank, results_[rank]};
  }
  return {};
}

void MergeTable::AddJoint(std::string_view left, std::string_view right) {
  const auto insert = [this](uint64_t key) {
    const size_t mask = joints_.size() - 1;
    size_t slot = (key * kMultiplier >> 32) & mask;
    while (joints_[slot] != 0 && joints_[slot] != key) slot = (slot + 1) & mask;
    const bool is_new = joints_[slot] == 0;
    joints_[slot] = key;
    return is_new;
  };
  joint_count_ += insert(JointKey(LastCodePoint(left), FirstCodePoint(right)));
  if (joint_count_ * 2 <= joints_.size()) return;
  std::vector<uint64_t> old(joints_.size() * 2, 0);
  old.swap(joints_);
  for (const uint64_t key : old) {
    if (key != 0) insert(key);
  }
}

bool MergeTable::MayJoin(char32_t left, char32_t right) const {
  if (size_ == 0) return false;
  const uint64_t key = JointKey(left, right);
  const size_t mask = joints_.size() - 1;
  for (size_t slot = (key * kMultiplier >> 32) & mask; joints_[slot] != 0; slot = (slot + 1) & mask) {
    if (joints_[slot] == key) return true;
  }
  return false;
}

Result<MergeTable> MergeTable::FromList(std::span<const std::pair<std::string_view, std::string_view>> merges,
                                        const PieceTable& pieces, std::span<const PieceKind> kinds,
                                        std::string_view file_name, bool* placeholder) {
  const auto fail = [&](size_t rank, const std::string& what) {
    return Fail(ErrorCode::kBadModel, std::string(file_name) + ": tokenizer: merge " + std::to_string(rank) + " (" +
                                          QuotePiece(merges[rank].first) + ", " + QuotePiece(merges[rank].second) +
                                          ") " + what);
  };
  TRY(CheckCount(merges.size(), file_name));
  MergeTable table;
  table.Reserve(merges.size());
  std::string joined, last_joined;
  TokenId last_result = -1;
  size_t unknown = 0, first_unknown = 0;
  std::array<TokenId, kBlock> left_ids{}, right_ids{};
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const size_t place = rank % kBlock;
    if (place == 0) {
      FindPieces(merges.subspan(rank, std::min(kBlock, merges.size() - rank)), pieces, left_ids, right_ids);
      for (size_t i = 0; i < kBlock; ++i) __builtin_prefetch(&table.slots_[table.Home(left_ids[i], right_ids[i])]);
    }
    const auto& [left, right] = merges[rank];
    const TokenId left_id = left_ids[place], right_id = right_ids[place];
    if (left_id < 0 || right_id < 0) {
      if (unknown++ == 0) first_unknown = rank;
      continue;
    }
    joined.assign(left).append(right);
    if (joined != last_joined) {  // the splits of one piece stand together, and the pieces in the order of their ids
      const bool is_next = last_result + 1 < pieces.size() && pieces[last_result + 1] == joined;
      const std::optional<TokenId> result = is_next ? last_result + 1 : pieces.Find(joined);
      if (!result) return fail(rank, "gives no token of the vocabulary");
      last_result = *result;
      last_joined.swap(joined);
    }
    // Text must never turn into a control token, and byte tokens stand for bytes of text that has no token.
    if (IsControlOrByte(kinds[last_result])) return fail(rank, "gives a control or byte token");
    if (kinds[left_id] == PieceKind::kByte || kinds[right_id] == PieceKind::kByte) {
      return fail(rank, "joins a byte token");
    }
    if (!table.Add(left_id, right_id, {static_cast<uint32_t>(rank), last_result})) {
      return fail(rank, "is there twice");
    }
    table.AddJoint(left, right);
  }
  if (placeholder != nullptr) *placeholder = unknown == merges.size();
  if (unknown > 0 && (placeholder == nullptr || !*placeholder))
    return fail(first_unknown, "names a piece that is not in the vocabulary");
  return table;
}

Result<MergeTable> MergeTable::FromVocabulary(const PieceTable& pieces, std::span<const PieceKind> kinds,
                                              std::string_view file_name) {
  struct Candidate {
    TokenId left, right, result;
    size_t left_run, right_run;  // lengths, of runs only
  };
  struct Split {
    std::string_view left, right;
    uint64_t left_hash, right_hash;
  };
  std::vector<Candidate> runs, ordinary;
  std::vector<Split> splits;
  for (TokenId id = 0; id < pieces.size(); ++id) {
    const std::string_view piece = pieces[id];
    const bool is_run = RunLength(piece) >= 2;
    if ((!is_run && kinds[id] != PieceKind::kNormal) || piece.size() > kMaxImpliedBytes) continue;
    splits.clear();
    for (size_t cut = piece.size() - 1; cut > 0; --cut) {  // the longer left part first
      if ((static_cast<uint8_t>(piece[cut]) & 0xC0) == 0x80) continue;
      const std::string_view left = piece.substr(0, cut), right = piece.substr(cut);
      splits.push_back({left, right, pieces.Prefetch(left), pieces.Prefetch(right)});
    }
    for (const Split& split : splits) {
      const std::optional<TokenId> left = pieces.Find(split.left, split.left_hash);
      const std::optional<TokenId> right = left ? pieces.Find(split.right, split.right_hash) : std::nullopt;
      if (!left || !right || IsControlOrByte(kinds[*left]) || IsControlOrByte(kinds[*right])) continue;
      if (is_run) {
        runs.push_back({*left, *right, id, RunLength(pieces[*left]), RunLength(pieces[*right])});
      } else {
        ordinary.push_back({*left, *right, id, 0, 0});
      }
    }
  }
  std::sort(runs.begin(), runs.end(), [](const Candidate& a, const Candidate& b) {
    return std::tuple(a.left_run, a.right_run, b.result) > std::tuple(b.left_run, b.right_run, a.result);
  });
  MergeTable table;
  TRY(CheckCount(runs.size() + ordinary.size(), file_name));
  table.Reserve(runs.size() + ordinary.size());
  uint32_t rank = 0;
  for (const std::vector<Candidate>* list : {&runs, &ordinary}) {
    for (const Candidate& merge : *list) {
      table.Add(merge.left, merge.right, {rank++, merge.result});
      table.AddJoint(pieces[merge.left], pieces[merge.right]);
    }
  }
  return table;
}

}  // namespace carat::text
