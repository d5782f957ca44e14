// For tests and fuzzers: a vocabulary with everything that the chat formats need, small enough to write down.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/tokenizer.h"

namespace carat::text {

// Control tokens of Gemma 4 first, then bytes, letters and a few words; so most text becomes one token per character,
// and everything but ASCII one per byte.
inline Tokenizer SmallTokenizer(PieceKind kind_of_markers = PieceKind::kControl) {
  std::vector<std::string> pieces = {"<pad>", "<eos>", "<bos>", "<unk>"};
  for (const char* marker :
       {"<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>", "<|tool>", "<tool|>", "<|tool_call>",
        "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>", "<|image|>", "<|audio|>", "<|video|>"}) {
    pieces.emplace_back(marker);
  }
  const size_t markers = pieces.size();
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece = "<0x00>";
    piece[3] = "0123456789ABCDEF"[byte / 16];
    piece[4] = "0123456789ABCDEF"[byte % 16];
    pieces.push_back(piece);
  }
  const size_t bytes = pieces.size();
  for (char c = '!'; c <= '~'; ++c) pieces.emplace_back(1, c);
  for (const char* piece : {"\n", "\u2581", "\n\n", "\u2581\u2581", "th", "ou", "ght", "gh", "ought", "thought", "ca",
                            "ll", "call", "call:", "us", "er", "user", "user\u2581"}) {
    pieces.emplace_back(piece);
  }

  TokenizerSpec spec;
  for (size_t i = 0; i < pieces.size(); ++i) {
    spec.pieces.push_back(pieces[i]);
    spec.kinds.push_back(i == 3        ? PieceKind::kUnknown
                         : i < 4       ? PieceKind::kControl
                         : i < markers ? kind_of_markers
                         : i < bytes   ? PieceKind::kByte
                                       : PieceKind::kNormal);
  }
  auto tokenizer = Tokenizer::Create(spec, "small vocabulary");
  CHECK(tokenizer);
  return std::move(*tokenizer);
}

}  // namespace carat::text
