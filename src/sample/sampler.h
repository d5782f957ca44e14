// Logits to a token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/resident.h"
#include "carat/engine.h"
#include "carat/result.h"
#include "sample/random.h"

namespace carat::sample {

// Error (kUsage) that names the setting and its range if one is out of it: temperature >= 0 and finite, top_k >= 0,
// 0 < top_p <= 1, 0 <= min_p <= 1, 0.01 <= repetition_penalty <= 100, the other penalties within +-100, window >= -1.
Status CheckSampling(const SamplingOptions& options);

// Chooses tokens as SamplingOptions says. Equal options, seed, logits and history give equal tokens. A copy goes on
// with the same random numbers as the original. Used by one thread at a time.
class Sampler {
 public:
  // `options` must pass CheckSampling.
  explicit Sampler(const SamplingOptions& options);

  // Chooses one of logits [vocabulary]. `history`: the tokens before it, oldest first, for the penalties; ids outside
  // the vocabulary are ignored. Uses one random number, none when greedy. Allocates in the first call only, or in none
  // after Reserve. Error (kFailure): a logit is NaN or +infinity, or all are -infinity.
  Result<TokenId> Sample(std::span<const float> logits, std::span<const TokenId> history);
  // Makes room for logits of that many tokens. After that, only set_options allocates.
  void Reserve(size_t vocabulary);
  MemoryUse memory() const;

  const SamplingOptions& options() const { return options_; }
  void set_options(const SamplingOptions& options);  // restarts the random numbers if the seed differs
  uint64_t seed() const { return seed_; }            // the one in use, also when it was drawn

 private:
  struct Candidate {
    float score;
    TokenId id;
    double weight;  // exp((score - the largest) / temperature): its probability but for a factor
  };
  static bool Likelier(const Candidate& a, const Candidate& b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
  }

  bool has_penalties() const;
  void ApplyPenalties(std::span<const TokenId> history);
  void KeepAll();
  void KeepTopK(size_t k);  // sorted, likeliest first
  void KeepTopP(double p);  // sorts as far as it keeps
  void KeepMinP(double p);
  TokenId Draw();

  SamplingOptions options_;
  uint64_t seed_;
  Random random_;
  size_t vocabulary_ = 0;         // that there is room for
  std::vector<float> scores_;     // [vocabulary]: the logits after penalties
  std::vector<uint32_t> counts_;  // [vocabulary]: occurrences in the window; zero between calls
  std::vector<Candidate> candidates_;
};

}  // namespace carat::sample
