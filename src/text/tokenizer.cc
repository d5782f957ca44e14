#include "text/tokenizer.h"

#include <algorithm>

#include "base/check.h"
#include "base/try.h"
#include "text/tokenizer_bpe.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

constexpr char32_t kSpaceCharacter = 0x2581;

// The byte that a piece of the form "<0x41>" names.
std::optional<uint8_t> ParseBytePiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + c - '0';
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + c - 'A' + 10;
    } else {
      return std::nullopt;
    }
  }
  return static_cast<uint8_t>(value);
}

}  // namespace

Result<Tokenizer> Tokenizer::Create(const TokenizerSpec& spec, std::string_view file_name) {
  CHECK(spec.pieces.size() == spec.kinds.size());
  Tokenizer tokenizer;
  TRY_ASSIGN(tokenizer.pieces_, PieceTable::Create(spec.pieces, file_name));
  tokenizer.kinds_ = spec.kinds;
  TRY(tokenizer.FindBytes(file_name));
  tokenizer.FindCharacters();
  bool implied = !spec.merges;
  if (spec.merges) {
    bool placeholder = false;
    TRY_ASSIGN(tokenizer.merges_, MergeTable::FromList(*spec.merges, tokenizer.pieces_, tokenizer.kinds_, file_name,
                                                       spec.allow_placeholder_merges ? &placeholder : nullptr));
    implied = placeholder;
  }
  if (implied) {
    TRY_ASSIGN(tokenizer.merges_, MergeTable::FromVocabulary(tokenizer.pieces_, tokenizer.kinds_, file_name));
  }
  TRY(tokenizer.FindRoles(spec.roles, file_name));
  tokenizer.FindLiterals(spec.late_literals);
  return tokenizer;
}

Status Tokenizer::FindBytes(std::string_view file_name) {
  bytes_.fill(-1);
  for (TokenId id = 0; id < size(); ++id) {
    if (kinds_[id] != PieceKind::kByte && kinds_[id] != PieceKind::kNormal) continue;
    const std::optional<uint8_t> value = ParseBytePiece(pieces_[id]);
    if (!value && kinds_[id] == PieceKind::kByte) {
      return Fail(ErrorCode::kBadModel, std::string(file_name) + ": tokenizer: token " + std::to_string(id) + " " +
                                            QuotePiece(pieces_[id]) + " is typed as a byte, but is not of the form " +
                                            "\"<0x41>\"");
    }
    if (!value) continue;
    kinds_[id] = PieceKind::kByte;
    bytes_[*value] = id;
  }
  const auto missing = std::find(bytes_.begin(), bytes_.end(), -1);
  if (missing == bytes_.end()) return {};
  constexpr char kHex[] = "0123456789ABCDEF";
  const auto value = static_cast<size_t>(missing - bytes_.begin());
  return Fail(ErrorCode::kBadModel, std::string(file_name) + ": tokenizer: has no token \"<0x" + kHex[value / 16] +
                                        kHex[value % 16] + ">\"; the tokens of all 256 bytes are needed");
}

uint64_t Tokenizer::memory_bytes() const {
  return pieces_.memory_bytes() + kinds_.capacity() * sizeof(PieceKind) + merges_.memory_bytes() +
         characters_.memory_bytes() + literals_.memory_bytes() + late_literals_.memory_bytes();
}

void Tokenizer::FindCharacters() {
  for (TokenId id = 0; id < size(); ++id) {
    // A control token stays out of reach of text even if it is one character long.
    if (kinds_[id] != PieceKind::kNormal && kinds_[id] != PieceKind::kUserDefined) continue;
    const CodePoint point = DecodeUtf8(pieces_[id], 0);
    if (static_cast<size_t>(point.size_bytes) == pieces_[id].size()) characters_.Set(point.value, id);
  }
}

void Tokenizer::CharacterTable::Set(char32_t character, TokenId id) {
  uint16_t& page = pages_[character >> 8];
  if (page == 0) {
    page = static_cast<uint16_t>(ids_.size() / 256);
    ids_.resize(ids_.size() + 256, -1);
  }
  ids_[page * 256u + (character & 255)] = id;
}

Status Tokenizer::FindRoles(const RoleIds& roles, std::string_view file_name) {
  struct Role {
    TokenId RoleIds::* id;
    std::string_view name, usual_piece;
  };
  for (const Role& role : {Role{&RoleIds::bos, "bos", "<bos>"}, Role{&RoleIds::eos, "eos", "<eos>"},
                           Role{&RoleIds::unknown, "unknown", "<unk>"}, Role{&RoleIds::padding, "padding", "<pad>"}}) {
    const TokenId id = roles.*role.id;
    if (id < -1 || id >= size()) {
      return Fail(ErrorCode::kBadModel, std::string(file_name) + ": tokenizer: the " + std::string(role.name) +
                                            " token is said to be " + std::to_string(id) + ", but there are only " +
                                            std::to_string(size()) + " tokens");
    }
    roles_.*role.id = id >= 0 ? id : Find(role.usual_piece).value_or(-1);
  }
  return {};
}

void Tokenizer::FindLiterals(std::span<const TokenId> late) {
  std::vector<std::string> late_pieces;  // their spaces are replaced, as in the text that they are looked for in
  late_pieces.reserve(late.size());
  std::vector<std::pair<std::string_view, TokenId>> late_literals, literals;
  std::vector<bool> is_late(pieces_.size(), false);
  for (const TokenId id : late) {
    is_late[id] = true;
    late_pieces.push_back(WithSpacesReplaced(pieces_[id]));
    late_literals.emplace_back(late_pieces.back(), id);
  }
  for (TokenId id = 0; id < size(); ++id) {
    if (is_late[id] || (!IsControl(id) && kinds_[id] != PieceKind::kUserDefined)) continue;
    literals.emplace_back(pieces_[id], id);
  }
  literals_ = LiteralMatcher(std::move(literals));
  late_literals_ = LiteralMatcher(std::move(late_literals));
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, bool control) const {
  std::string repaired;
  if (!IsValidUtf8(text)) text = repaired = ReplaceInvalidUtf8(text);
  std::vector<TokenId> out;
  PairEncoder encoder(merges_);
  SplitAtLiterals(literals_, text, control, out, [&](std::string_view part) {
    if (late_literals_.empty()) {
      EncodeText(part, encoder, out);
    } else {
      SplitAtLiterals(late_literals_, WithSpacesReplaced(part), control, out,
                      [&](std::string_view rest) { EncodeText(rest, encoder, out); });
    }
  });
  return out;
}

template <typename OnText>
void Tokenizer::SplitAtLiterals(const LiteralMatcher& matcher, std::string_view text, bool control,
                                std::vector<TokenId>& out, const OnText& on_text) const {
  size_t begin = 0;  // of the text that has not been handed on
  for (size_t from = 0; from < text.size();) {
    const LiteralMatcher::Match match = matcher.Next(text, from);
    from = match.end;
    // What a control string covers stays text as a whole: no shorter literal is looked for in it.
    if (match.id >= 0 && IsControl(match.id) && !control) continue;
    if (begin < match.begin) on_text(text.substr(begin, match.begin - begin));
    if (match.id >= 0) out.push_back(match.id);
    begin = match.end;
  }
  if (begin < text.size()) on_text(text.substr(begin));
}

void Tokenizer::EncodeText(std::string_view text, PairEncoder& encoder, std::vector<TokenId>& out) const {
  char32_t previous = 0;
  for (size_t i = 0; i < text.size();) {
    const bool is_space = text[i] == ' ';
    const CodePoint point = DecodeUtf8(text, i);
    const char32_t character = is_space ? kSpaceCharacter : point.value;
    // Stretches that no merge can join are encoded one by one, which keeps them as short as words.
    if (i > 0 && !merges_.MayJoin(previous, character)) encoder.Flush(out);
    if (const TokenId id = characters_[character]; id >= 0) {
      encoder.Push(id);
    } else {
      const std::string_view bytes = is_space ? kSpacePiece : text.substr(i, point.size_bytes);
      for (const char byte : bytes) encoder.Push(bytes_[static_cast<uint8_t>(byte)]);
    }
    previous = character;
    i += point.size_bytes;
  }
  encoder.Flush(out);
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool control) const {
  StreamDecoder decoder(*this, control);
  std::string out;
  for (const TokenId id : ids) decoder.Push(id, out);
  decoder.Flush(out);
  return out;
}

std::string StreamDecoder::Push(TokenId id) {
  std::string out;
  Push(id, out);
  return out;
}

std::string StreamDecoder::Finish() {
  std::string out;
  Flush(out);
  return out;
}

void StreamDecoder::Push(TokenId id, std::string& out) {
  if (id < 0 || id >= tokenizer_->size() || (tokenizer_->IsControl(id) && !control_)) return;
  const std::string_view piece = tokenizer_->Piece(id);
  if (tokenizer_->Kind(id) != PieceKind::kByte) {
    Flush(out);
    for (size_t i = 0; i < piece.size();) {
      const size_t space = std::min(piece.find(kSpacePiece, i), piece.size());
      out.append(piece.substr(i, space - i));
      if (space < piece.size()) out += ' ';
      i = space + kSpacePiece.size();
    }
    return;
  }
  held_.push_back(static_cast<char>(*ParseBytePiece(piece)));
  for (size_t i = 0; i < held_.size();) {
    const CodePoint point = DecodeUtf8(held_, i);
    if (point.cut_short) {
      held_.erase(0, i);
      return;
    }
    if (point.valid) {
      out.append(held_, i, point.size_bytes);
    } else {
      for (int n = 0; n < point.size_bytes; ++n) AppendUtf8(kReplacementCharacter, out);
    }
    i += point.size_bytes;
  }
  held_.clear();
}

void StreamDecoder::Flush(std::string& out) {
  for (size_t i = 0; i < held_.size(); ++i) AppendUtf8(kReplacementCharacter, out);
  held_.clear();
}

}  // namespace carat::text
