// What a tokenizer makes of a text, as a test can read it.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace carat::testing_support {

// The pieces that a text is cut into, with '|' between them: bytes as <0xC3>.
inline std::string Cut(const text::Tokenizer& tokenizer, std::string_view text, bool control = false) {
  std::string out;
  for (const TokenId id : tokenizer.Encode(text, control)) {
    if (!out.empty()) out += '|';
    out += tokenizer.Piece(id);
  }
  return out;
}

}  // namespace carat::testing_support
