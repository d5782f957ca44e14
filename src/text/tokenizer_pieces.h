// The strings of a vocabulary: id -> string and string -> id.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/engine.h"
#include "carat/result.h"

namespace carat::text {

inline constexpr int kPieceBits = 21;
// Eight times Gemma's; bounds what a damaged file can ask for. The id that has all bits set is left out.
inline constexpr size_t kMaxPieces = (size_t{1} << kPieceBits) - 1;
inline constexpr size_t kMaxPieceBytes = 4096;  // Gemma's longest is 93

// Pieces write a space as U+2581.
inline constexpr std::string_view kSpacePiece = "\u2581";

// What a piece is there for.
enum class PieceKind : uint8_t {
  kNormal,       // found by merging
  kUnknown,      // stands for text without tokens, which the byte tokens leave none of; else like kControl
  kControl,      // steers the model; never found in text that a user wrote
  kUserDefined,  // matched literally, before any merging
  kUnused,       // found by no text
  kByte          // "<0x41>": a byte of text that has no other token
};

// All strings in one arena, found through a flat hash table: 262,144 pieces cost 6 MB instead of the 30 that a map of
// strings takes.
class PieceTable {
 public:
  // Copies the pieces. Error: kBadModel for pieces that are missing (empty), too long, not UTF-8 or there twice.
  static Result<PieceTable> Create(std::span<const std::string_view> pieces, std::string_view file_name);

  int size() const { return static_cast<int>(starts_.size()) - 1; }
  uint64_t memory_bytes() const {
    return arena_.capacity() + starts_.capacity() * sizeof(uint32_t) + slots_.capacity() * sizeof(Slot);
  }
  std::string_view operator[](TokenId id) const {
    return std::string_view(arena_).substr(starts_[id], starts_[id + 1] - starts_[id]);
  }
  std::optional<TokenId> Find(std::string_view piece) const { return Find(piece, Hash(piece)); }

  // Find in two steps, for whoever looks for many: Prefetch asks for the memory that Find looks at with the hash that
  // it gave, and does not wait for it.
  uint64_t Prefetch(std::string_view piece) const {
    const uint64_t hash = Hash(piece);
    __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]);
    return hash;
  }
  std::optional<TokenId> Find(std::string_view piece, uint64_t hash) const;

 private:
  // An id, and above it the upper bits of the piece's hash, which spare most comparisons of strings.
  using Slot = uint32_t;
  static constexpr Slot kEmpty = UINT32_MAX;
  static Slot Entry(uint64_t hash, TokenId id) {
    return static_cast<Slot>(hash >> (32 + kPieceBits)) << kPieceBits | static_cast<Slot>(id);
  }
  static TokenId IdOf(Slot slot) { return static_cast<TokenId>(slot & kMaxPieces); }
  static uint64_t Hash(std::string_view piece);

  std::string arena_;
  std::vector<uint32_t> starts_;  // [size + 1]
  std::vector<Slot> slots_;       // a power of two, at most half full; linear probing
};

// The text with every space written as in pieces.
std::string WithSpacesReplaced(std::string_view text);

// A piece for a message: its quotes and control characters escaped, its middle cut out when it is long.
std::string QuotePiece(std::string_view piece);

}  // namespace carat::text
