// The tokenizer of a checkpoint: from the metadata of a GGUF file or the tokenizer.json of a folder.
#pragma once

#include <optional>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace carat {

// None if the checkpoint carries none; it then serves for work with token ids. Error: kBadModel for one that is damaged
// or not of Gemma's kind. The tokenizer keeps no view into the checkpoint.
Result<std::optional<text::Tokenizer>> LoadTokenizer(const formats::Checkpoint& checkpoint);
// The GGUF half of it.
Result<std::optional<text::Tokenizer>> TokenizerFromGguf(const formats::GgufMetadata& metadata);

}  // namespace carat
