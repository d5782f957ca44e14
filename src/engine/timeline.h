// Tokens in their order, some of them soft.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/resident.h"
#include "carat/engine.h"
#include "carat/session.h"
#include "gemma/decoder.h"

namespace carat {

// A stretch of tokens. A view.
struct TokenView {
  std::span<const TokenId> ids;
  std::span<const SoftRun> soft;  // of these tokens, and maybe of others around them
  int64_t origin = 0;             // the position of ids[0], as `soft` counts

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  TokenView Part(int64_t first, int64_t count) const {
    return {ids.subspan(static_cast<size_t>(first), static_cast<size_t>(count)), soft, origin + first};
  }
  TokenView From(int64_t first) const { return Part(first, size() - first); }
};

class Timeline {
 public:
  // Room for so many tokens without soft ones, so that appending them allocates nothing.
  void Reserve(int64_t tokens) { ids_.reserve(static_cast<size_t>(tokens)); }

  void Append(const TokenView& tokens);
  void Truncate(int64_t length);
  void Clear() { Truncate(0); }

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  std::span<const TokenId> ids() const { return ids_; }
  std::span<const SoftRun> soft() const { return soft_; }
  TokenView view() const { return {ids_, soft_, 0}; }

  MemoryUse memory() const;  // of the ids

 private:
  std::vector<TokenId> ids_;
  std::vector<SoftRun> soft_;
};

// [run.count, hidden]
std::span<const float> VectorsOf(const SoftRun& run);

// The tokens as the decoder takes them: stretches of text, and of soft tokens. Replaces what `segments` holds.
void CutIntoSegments(const TokenView& tokens, std::vector<gemma::Segment>& segments);

// So many tokens at the beginning of both mean the same: their ids, or where they are soft, their vectors.
int64_t CommonLength(const TokenView& a, const TokenView& b);

}  // namespace carat
