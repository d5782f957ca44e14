// The part of a model that deals in text: enough to tokenize and to render conversations, without any weights.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "carat/result.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace carat {

struct TextModel {
  std::filesystem::path path;
  text::Tokenizer tokenizer;
  std::optional<text::ChatFormat> chat_format;  // none: the tokenizer has no markers for turns
};

// `path` as for Engine::Load, but a folder needs a tokenizer.json only, and of a GGUF file the metadata only counts.
// Errors: kNotFound, kBadModel; kUsage if the checkpoint has no tokenizer.
Result<TextModel> LoadTextModel(const std::filesystem::path& path);

}  // namespace carat
