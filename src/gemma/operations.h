// How much arithmetic tokens and pictures take.
#pragma once

#include <cstdint>

#include "gemma/model.h"
#include "gemma/vision_model.h"

namespace carat::gemma {

// Of products alone, a multiplication and an addition counting as two; what is done once per number (norms, activation
// functions, softmax) is a few percent of them.
struct Operations {
  uint64_t integer = 0;   // of codes with codes, 8 bits at most
  uint64_t blocks = 0;    // of block types: with codes too, or of bfloat16 numbers (kernels::Bf16Products)
  uint64_t floating = 0;  // all others, attention among them

  uint64_t total() const { return integer + blocks + floating; }
};

// Of appending `tokens` tokens to `past` others and computing the logits of the last: what Decoder::Run does, the
// prefill shortcut included. `exact`: as of ops::Context.
Operations CountOperations(const Model& model, bool exact, int64_t past, int64_t tokens);
// Of a picture of `patches` patches, to its soft tokens.
Operations CountOperations(const VisionModel& model, bool exact, int64_t patches);

}  // namespace carat::gemma
