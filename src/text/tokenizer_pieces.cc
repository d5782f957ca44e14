#include "text/tokenizer_pieces.h"

#include <bit>
#include <cstring>

#include "base/try.h"
#include "text/unicode.h"

namespace carat::text {

uint64_t PieceTable::Hash(std::string_view piece) {
  // Multiply and fold, eight bytes at a time. The multiplier is the golden ratio: odd, its bits well mixed.
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;
  uint64_t hash = piece.size();
  for (size_t i = 0; i < piece.size(); i += 8) {
    uint64_t eight = 0;
    std::memcpy(&eight, piece.data() + i, std::min<size_t>(8, piece.size() - i));
    hash = (hash ^ eight) * kMultiplier;
    hash ^= hash >> 29;
  }
  hash *= kMultiplier;
  return hash ^ hash >> 32;
}

Result<PieceTable> PieceTable::Create(std::span<const std::string_view> pieces, std::string_view file_name) {
  const auto fail = [file_name](size_t id, const std::string& what) {
    return Fail(ErrorCode::kBadModel, std::string(file_name) + ": tokenizer: token " + std::to_string(id) + " " + what);
  };
  if (pieces.empty() || pieces.size() > kMaxPieces) {
    return Fail(ErrorCode::kBadModel, std::string(file_name) + ": tokenizer: has " + std::to_string(pieces.size()) +
                                          " tokens; 1 to " + std::to_string(kMaxPieces) + " are supported");
  }
  PieceTable table;
  uint64_t size_bytes = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].empty()) return fail(id, "is missing or empty");
    if (pieces[id].size() > kMaxPieceBytes) {
      return fail(id, "has " + std::to_string(pieces[id].size()) + " bytes; at most " + std::to_string(kMaxPieceBytes) +
                          " are supported");
    }
    if (!IsValidUtf8(pieces[id])) return fail(id, "is not valid UTF-8");
    size_bytes += pieces[id].size();
  }
  if (size_bytes > UINT32_MAX) return fail(pieces.size() - 1, "ends beyond 4 GiB of strings");
  table.arena_.reserve(size_bytes);
  table.starts_.reserve(pieces.size() + 1);
  table.starts_.push_back(0);
  table.slots_.resize(std::bit_ceil(pieces.size() * 2), kEmpty);
  const size_t mask = table.slots_.size() - 1;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const uint64_t hash = Hash(pieces[id]);
    if (const std::optional<TokenId> other = table.Find(pieces[id], hash))
      return fail(id, QuotePiece(pieces[id]) + " is there twice, also as " + std::to_string(*other));
    size_t slot = hash & mask;
    while (table.slots_[slot] != kEmpty) slot = (slot + 1) & mask;
    table.slots_[slot] = Entry(hash, static_cast<TokenId>(id));
    table.arena_.append(pieces[id]);
    table.starts_.push_back(static_cast<uint32_t>(table.arena_.size()));
  }
  return table;
}

std::optional<TokenId> PieceTable::Find(std::string_view piece, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash & mask; slots_[slot] != kEmpty; slot = (slot + 1) & mask) {
    const TokenId id = IdOf(slots_[slot]);
    if (slots_[slot] == Entry(hash, id) && (*this)[id] == piece) return id;
  }
  return std::nullopt;
}

std::string WithSpacesReplaced(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == ' ') {
      out += kSpacePiece;
    } else {
      out += c;
    }
  }
  return out;
}

std::string QuotePiece(std::string_view piece) {
  constexpr size_t kShown = 48;
  const std::string valid = ReplaceInvalidUtf8(piece.substr(0, kShown));
  std::string out = "\"";
  for (const char c : valid) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      constexpr char kHex[] = "0123456789ABCDEF";
      out += {'\\', 'x', kHex[c >> 4 & 15], kHex[c & 15]};
    } else {
      out += c;
    }
  }
  return out + (piece.size() > kShown ? "...\"" : "\"");
}

}  // namespace carat::text
