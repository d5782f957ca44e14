#include "text/loop_guard.h"

#include <algorithm>

#include "base/check.h"

namespace carat::text {

LoopGuard::LoopGuard(const LoopGuardOptions& options)
    : options_(options), recent_(static_cast<size_t>(options.max_period)), matches_(recent_.size()) {
  CHECK(options.max_period > 0 && options.min_repeats > 1);
}

bool LoopGuard::Push(TokenId token) {
  const size_t size = recent_.size();
  bool loops = false;
  for (size_t period = 1; period <= std::min(size, count_); ++period) {
    int& matches = matches_[period - 1];
    matches = recent_[(count_ - period) % size] == token ? matches + 1 : 0;
    const int repeats_length = static_cast<int>(period) * (options_.min_repeats - 1);  // the first one matches nothing
    const int tokens_length = options_.min_tokens - static_cast<int>(period);
    loops |= matches >= std::max(repeats_length, tokens_length);
  }
  recent_[count_ % size] = token;
  ++count_;
  return loops;
}

}  // namespace carat::text
