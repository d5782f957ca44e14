#include "text/chat_ids.h"

#include <string>

namespace carat::text {

std::optional<ChatFormat> ChatFormatOf(const Tokenizer& tokenizer) {
  const auto has_marker = [&](std::string_view piece) {
    const std::optional<TokenId> id = tokenizer.Find(piece);
    return id && tokenizer.Kind(*id) != PieceKind::kNormal;
  };
  if (has_marker("<|turn>")) return ChatFormat::kGemma4;
  if (has_marker("<start_of_turn>")) return ChatFormat::kGemma3;
  return std::nullopt;
}

Result<std::vector<TokenId>> EncodeSegments(const Tokenizer& tokenizer, std::span<const ChatSegment> segments,
                                            std::vector<int64_t>* media) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < segments.size();) {
    if (segments[i].kind == ChatSegment::Kind::kText) {
      std::string text;  // what follows without a token between is one input: it merges across the seam
      for (; i < segments.size() && segments[i].kind == ChatSegment::Kind::kText; ++i) text += segments[i].text;
      const std::vector<TokenId> encoded = tokenizer.Encode(text, /*control=*/false);
      ids.insert(ids.end(), encoded.begin(), encoded.end());
      continue;
    }
    const auto id = tokenizer.Find(segments[i].text);
    if (!id) {
      return Fail(ErrorCode::kBadModel, "the tokenizer has no token " + segments[i].text +
                                            ", which the chat format needs; a chat model's tokenizer has");
    }
    if (segments[i].is_medium() && media != nullptr) media->push_back(static_cast<int64_t>(ids.size()));
    ids.insert(ids.end(), static_cast<size_t>(segments[i].count), *id);
    ++i;
  }
  return ids;
}

}  // namespace carat::text
