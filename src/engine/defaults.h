// How a checkpoint wants its tokens chosen, which of them end an answer, and how much it sees of media.
#pragma once

#include <vector>

#include "carat/engine.h"
#include "carat/media.h"
#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace carat {

struct GenerationDefaults {
  SamplingOptions sampling;
  std::vector<TokenId> stop_ids;  // sorted
};

// From generation_config.json or the GGUF's general.sampling.* keys; what they leave open is the family's (temperature
// 1, top-k 64, top-p 0.95). The stop ids are the checkpoint's, and its tokenizer's end-of-text, end-of-turn and
// tool-response tokens, which files often forget. `tokenizer` may be null.
Result<GenerationDefaults> ReadGenerationDefaults(const formats::Checkpoint& checkpoint, int64_t vocabulary,
                                                  const text::Tokenizer* tokenizer);

// From processor_config.json; what it leaves open, and all of a GGUF, is as the models were published.
Result<MediaOptions> ReadMediaDefaults(const formats::Checkpoint& checkpoint);

}  // namespace carat
