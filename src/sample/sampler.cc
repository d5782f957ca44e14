#include "sample/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <string>

namespace carat::sample {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

uint64_t DrawSeed() {
  std::random_device device;
  const uint64_t seed = (static_cast<uint64_t>(device()) << 32) | device();
  return seed == 0 ? 1 : seed;  // 0 means "draw one"
}

// The largest value; -infinity if there is none. The values hold no NaN.
float Largest(std::span<const float> values) {
  // Sixteen running maxima, because a single one is a chain of dependent compares, the slowest part of a greedy choice.
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> lanes;
  lanes.fill(-kInfinity);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
  }
  for (; i < values.size(); ++i) lanes[0] = std::max(lanes[0], values[i]);
  return *std::max_element(lanes.begin(), lanes.end());
}

Status OutOfRange(const char* name, double value, const char* range) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return Fail(ErrorCode::kUsage, std::string(name) + " is " + text + ", but must be " + range);
}

}  // namespace

Status CheckSampling(const SamplingOptions& o) {
  if (!(o.temperature >= 0) || o.temperature == kInfinity) return OutOfRange("temperature", o.temperature, "0 or more");
  if (o.top_k < 0) return OutOfRange("top_k", o.top_k, "0 (off) or more");
  if (!(o.top_p > 0 && o.top_p <= 1)) return OutOfRange("top_p", o.top_p, "above 0 and at most 1 (off)");
  if (!(o.min_p >= 0 && o.min_p <= 1)) return OutOfRange("min_p", o.min_p, "from 0 (off) to 1");
  // Wide enough for any use, and narrow enough that no finite logit turns into a NaN.
  if (!(o.repetition_penalty >= 0.01f && o.repetition_penalty <= 100)) {
    return OutOfRange("repetition_penalty", o.repetition_penalty, "from 0.01 to 100 (1: off)");
  }
  if (!(std::abs(o.frequency_penalty) <= 100)) {
    return OutOfRange("frequency_penalty", o.frequency_penalty, "from -100 to 100 (0: off)");
  }
  if (!(std::abs(o.presence_penalty) <= 100)) {
    return OutOfRange("presence_penalty", o.presence_penalty, "from -100 to 100 (0: off)");
  }
  if (o.penalty_window < -1) return OutOfRange("penalty_window", o.penalty_window, "-1 (all) or more");
  return {};
}

Sampler::Sampler(const SamplingOptions& options)
    : options_(options), seed_(options.seed != 0 ? options.seed : DrawSeed()), random_(seed_) {}

void Sampler::Reserve(size_t vocabulary) {
  vocabulary_ = vocabulary;
  scores_.reserve(vocabulary);
  if (has_penalties()) counts_.reserve(vocabulary);
  if (options_.temperature == 0) return;
  candidates_.reserve(options_.top_k > 0 ? std::min<size_t>(vocabulary, options_.top_k) : vocabulary);
}

MemoryUse Sampler::memory() const {
  MemoryUse use = AllocatedUse(scores_.data(), scores_.capacity() * sizeof(scores_[0]));
  use += AllocatedUse(counts_.data(), counts_.capacity() * sizeof(counts_[0]));
  return use += AllocatedUse(candidates_.data(), candidates_.capacity() * sizeof(candidates_[0]));
}

void Sampler::set_options(const SamplingOptions& options) {
  if (options.seed != options_.seed) {
    seed_ = options.seed != 0 ? options.seed : DrawSeed();
    random_ = Random(seed_);
  }
  options_ = options;
  Reserve(vocabulary_);
}

Result<TokenId> Sampler::Sample(std::span<const float> logits, std::span<const TokenId> history) {
  scores_.assign(logits.begin(), logits.end());
  bool broken = false;
  for (const float score : scores_) broken |= !(score < kInfinity);
  if (broken) {
    return Fail(ErrorCode::kFailure,
                "the model computed logits that are not numbers; its weights or this build's kernels are damaged");
  }
  ApplyPenalties(history);
  for (const TokenId id : options_.suppressed) {
    if (id >= 0 && static_cast<size_t>(id) < scores_.size()) scores_[id] = -kInfinity;
  }

  const float largest = Largest(scores_);
  if (largest == -kInfinity) return Fail(ErrorCode::kFailure, "no token can follow: every logit is minus infinity");
  if (options_.temperature == 0) {
    return static_cast<TokenId>(std::find(scores_.begin(), scores_.end(), largest) - scores_.begin());
  }

  const bool limited = options_.top_k > 0 && static_cast<size_t>(options_.top_k) < scores_.size();
  if (limited) {
    KeepTopK(static_cast<size_t>(options_.top_k));
  } else {
    KeepAll();
  }
  const double temperature = options_.temperature;
  for (Candidate& c : candidates_) c.weight = std::exp((static_cast<double>(c.score) - largest) / temperature);
  if (options_.top_p < 1) KeepTopP(options_.top_p);
  if (options_.min_p > 0) KeepMinP(options_.min_p);
  return Draw();
}

bool Sampler::has_penalties() const {
  return options_.repetition_penalty != 1 || options_.frequency_penalty != 0 || options_.presence_penalty != 0;
}

// Repetition first (Keskar et al. 2019, CTRL, section 4.1, with the sign rule of its reference implementation), then
// the two subtractions as the OpenAI API defines them.
void Sampler::ApplyPenalties(std::span<const TokenId> history) {
  const SamplingOptions& o = options_;
  if (!has_penalties()) return;
  if (o.penalty_window >= 0 && static_cast<size_t>(o.penalty_window) < history.size()) {
    history = history.last(static_cast<size_t>(o.penalty_window));
  }
  counts_.resize(scores_.size());
  const auto known = [&](TokenId id) { return id >= 0 && static_cast<size_t>(id) < scores_.size(); };
  for (const TokenId id : history) {
    if (known(id)) ++counts_[id];
  }
  for (const TokenId id : history) {
    if (!known(id) || counts_[id] == 0) continue;
    float& score = scores_[id];
    score = score > 0 ? score / o.repetition_penalty : score * o.repetition_penalty;
    score -= o.frequency_penalty * static_cast<float>(counts_[id]) + o.presence_penalty;
    score = std::min(score, std::numeric_limits<float>::max());
    counts_[id] = 0;  // done, and ready for the next call
  }
}

void Sampler::KeepAll() {
  candidates_.clear();
  candidates_.reserve(scores_.size());
  for (size_t i = 0; i < scores_.size(); ++i) {
    if (scores_[i] > -kInfinity) candidates_.push_back({scores_[i], static_cast<TokenId>(i), 0});
  }
}

// One pass over the vocabulary with a heap of the best k so far, its least likely on top: almost every score loses
// against that one, so the cost is that of reading the scores.
void Sampler::KeepTopK(size_t k) {
  candidates_.clear();
  candidates_.reserve(k);
  for (size_t i = 0; i < scores_.size(); ++i) {
    const float score = scores_[i];
    if (candidates_.size() == k) {
      if (!(score > candidates_.front().score)) continue;  // among equals the lower id, seen first, stays
      std::pop_heap(candidates_.begin(), candidates_.end(), Likelier);
      candidates_.back() = {score, static_cast<TokenId>(i), 0};
    } else {
      if (score == -kInfinity) continue;
      candidates_.push_back({score, static_cast<TokenId>(i), 0});
    }
    std::push_heap(candidates_.begin(), candidates_.end(), Likelier);
  }
  std::sort_heap(candidates_.begin(), candidates_.end(), Likelier);
}

// Keeps the fewest likeliest candidates whose probabilities sum to at least p.
void Sampler::KeepTopP(double p) {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  const double enough = p * total;
  // The nucleus of a vocabulary is usually small: sort a few, and more only while they do not suffice.
  double sum = 0;
  size_t sorted = 0;
  for (size_t step = 256; sorted < candidates_.size(); step *= 4) {
    const size_t end = std::min(candidates_.size(), sorted + step);
    const auto first = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(end);
    if (end < candidates_.size()) std::nth_element(first, last, candidates_.end(), Likelier);
    std::sort(first, last, Likelier);
    for (; sorted < end; ++sorted) {
      if (sum >= enough && sorted > 0) {
        candidates_.resize(sorted);
        return;
      }
      sum += candidates_[sorted].weight;
    }
  }
}

void Sampler::KeepMinP(double p) {
  std::erase_if(candidates_, [p](const Candidate& c) { return c.weight < p; });  // the likeliest has weight 1
}

TokenId Sampler::Draw() {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double left = random_.NextUnit() * total;
  for (const Candidate& c : candidates_) {
    left -= c.weight;
    if (left < 0) return c.id;
  }
  // Rounding left a crumb: the last candidate that has a probability at all.
  const auto last =
      std::find_if(candidates_.rbegin(), candidates_.rend(), [](const Candidate& c) { return c.weight > 0; });
  return last->id;
}

}  // namespace carat::sample
