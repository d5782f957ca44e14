#include "engine/timeline.h"

#include <algorithm>
#include <optional>

namespace carat {

namespace {

// The part of `run` within the tokens, at its place among them; none if it lies outside.
std::optional<SoftRun> PartWithin(const SoftRun& run, const TokenView& tokens) {
  const int64_t begin = std::max(run.position, tokens.origin);
  const int64_t end = std::min(run.position + run.count, tokens.origin + tokens.size());
  if (begin >= end) return std::nullopt;
  return SoftRun{.position = begin - tokens.origin,
                 .tokens = run.tokens,
                 .first = run.first + begin - run.position,
                 .count = end - begin};
}

// The vector of a token, empty if it is a token of text.
class SoftLookup {
 public:
  explicit SoftLookup(const TokenView& tokens) : tokens_(tokens) {}
  // `index` must not be less than in the call before.
  std::span<const float> At(int64_t index) {
    const int64_t position = tokens_.origin + index;
    while (next_ < tokens_.soft.size() && tokens_.soft[next_].position + tokens_.soft[next_].count <= position) ++next_;
    if (next_ == tokens_.soft.size() || tokens_.soft[next_].position > position) return {};
    SoftRun token = tokens_.soft[next_];
    token.first += position - token.position;
    token.count = 1;
    return VectorsOf(token);
  }

 private:
  const TokenView& tokens_;
  size_t next_ = 0;
};

}  // namespace

std::span<const float> VectorsOf(const SoftRun& run) {
  const std::vector<float>& vectors = run.tokens->vectors;
  const size_t hidden = vectors.size() / static_cast<size_t>(run.tokens->count);
  return std::span(vectors).subspan(static_cast<size_t>(run.first) * hidden, static_cast<size_t>(run.count) * hidden);
}

void Timeline::Append(const TokenView& tokens) {
  const int64_t begin = size();
  ids_.insert(ids_.end(), tokens.ids.begin(), tokens.ids.end());
  for (const SoftRun& run : tokens.soft) {
    std::optional<SoftRun> part = PartWithin(run, tokens);
    if (!part) continue;
    part->position += begin;
    SoftRun* last = soft_.empty() ? nullptr : &soft_.back();
    const bool goes_on = last != nullptr && last->tokens == part->tokens &&
                         last->position + last->count == part->position && last->first + last->count == part->first;
    if (goes_on) {
      last->count += part->count;
    } else {
      soft_.push_back(*std::move(part));
    }
  }
}

void Timeline::Truncate(int64_t length) {
  ids_.resize(static_cast<size_t>(length));
  while (!soft_.empty() && soft_.back().position >= length) soft_.pop_back();
  if (!soft_.empty()) soft_.back().count = std::min(soft_.back().count, length - soft_.back().position);
}

MemoryUse Timeline::memory() const { return AllocatedUse(ids_.data(), ids_.capacity() * sizeof(TokenId)); }

void CutIntoSegments(const TokenView& tokens, std::vector<gemma::Segment>& segments) {
  segments.clear();
  int64_t done = 0;
  const auto add_text = [&](int64_t end) {
    if (end > done) segments.push_back({.ids = tokens.Part(done, end - done).ids, .soft = {}});
  };
  for (const SoftRun& run : tokens.soft) {
    const std::optional<SoftRun> part = PartWithin(run, tokens);
    if (!part) continue;
    add_text(part->position);
    segments.push_back({.ids = {}, .soft = VectorsOf(*part)});
    done = part->position + part->count;
  }
  add_text(tokens.size());
}

int64_t CommonLength(const TokenView& a, const TokenView& b) {
  SoftLookup soft_a(a), soft_b(b);
  const int64_t shorter = std::min(a.size(), b.size());
  for (int64_t i = 0; i < shorter; ++i) {
    const std::span<const float> vector_a = soft_a.At(i), vector_b = soft_b.At(i);
    const bool same = vector_a.empty() && vector_b.empty()
                          ? a.ids[static_cast<size_t>(i)] == b.ids[static_cast<size_t>(i)]
                          : std::ranges::equal(vector_a, vector_b);
    if (!same) return i;
  }
  return shorter;
}

}  // namespace carat
