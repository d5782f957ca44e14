// Notices when a model has fallen into a loop: the same token, or the same few tokens, over and over.
#pragma once

#include <vector>

#include "carat/engine.h"

namespace carat::text {

struct LoopGuardOptions {
  int max_period = 32;   // longest sequence that is watched for, tokens
  int min_repeats = 24;  // times that a sequence must occur in a row; below, it may be a table or a refrain
  int min_tokens = 256;  // and how many tokens they must be together
};

class LoopGuard {
 public:
  explicit LoopGuard(const LoopGuardOptions& options = {});
  // Takes the next token. True if the answer ends in a loop.
  bool Push(TokenId token);

 private:
  LoopGuardOptions options_;
  std::vector<TokenId> recent_;  // a ring of the last max_period tokens
  std::vector<int> matches_;     // by period - 1: how many tokens in a row equal the one a period before
  size_t count_ = 0;
};

}  // namespace carat::text
