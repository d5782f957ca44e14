// Tokenizer: bytes up to the first NUL are read as a tokenizer.json or refused; what follows is a text, which is
// tokenized with it (or, if it was refused, with a small vocabulary). Tokens give back the text, a user's text never
// gives control tokens, and any tokens at all decode to valid UTF-8, in one go or one by one.
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/small_vocabulary.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace carat {
namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

// What a text comes back as: broken UTF-8 is replaced, and U+2581 cannot be told from a space.
std::string Readable(std::string_view text) {
  std::string out;
  const std::string valid = text::ReplaceInvalidUtf8(text);
  for (size_t i = 0; i < valid.size();) {
    const size_t space = std::min(valid.find(text::kSpacePiece, i), valid.size());
    out.append(valid, i, space - i);
    if (space < valid.size()) out += ' ';
    i = space + text::kSpacePiece.size();
  }
  return out;
}

void CheckRoundTrip(const text::Tokenizer& tokenizer, std::string_view text, bool control) {
  const std::vector<TokenId> ids = tokenizer.Encode(text, control);
  for (const TokenId id : ids) {
    Require(id >= 0 && id < tokenizer.size());
    Require(control || !tokenizer.IsControl(id));
  }
  Require(tokenizer.Decode(ids, true) == Readable(text));
}

void CheckDecoding(const text::Tokenizer& tokenizer, std::string_view data, bool control) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i + 1 < data.size(); i += 2) {
    const int number = static_cast<uint8_t>(data[i]) << 8 | static_cast<uint8_t>(data[i + 1]);
    ids.push_back(number % (tokenizer.size() + 2) - 1);  // some are outside of the vocabulary
  }
  text::StreamDecoder decoder(tokenizer, control);
  std::string streamed;
  for (const TokenId id : ids) {
    const std::string piece = decoder.Push(id);
    Require(text::IsValidUtf8(piece));
    streamed += piece;
  }
  streamed += decoder.Finish();
  Require(text::IsValidUtf8(streamed));
  Require(streamed == tokenizer.Decode(ids, control));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const text::Tokenizer small = text::SmallTokenizer();
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view json = input.substr(0, input.find('\0'));
  const std::string_view text = json.size() < size ? input.substr(json.size() + 1) : input;

  const Result<text::Tokenizer> read = text::Tokenizer::FromJson(json, "fuzz.json");
  if (!read) {
    const Error& error = read.error();
    Require(error.code == ErrorCode::kBadModel && error.message.starts_with("fuzz.json: "));
    Require(error.message.find('\n') == std::string::npos && text::IsValidUtf8(error.message));
  }
  const text::Tokenizer& tokenizer = read ? *read : small;
  for (const bool control : {false, true}) {
    CheckRoundTrip(tokenizer, text, control);
    CheckDecoding(tokenizer, text, control);
  }
  return 0;
}

}  // namespace carat
