// From the segments of a prompt and the media that it shows to tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "carat/result.h"
#include "engine/shown_medium.h"
#include "engine/timeline.h"
#include "text/chat.h"
#include "text/reply_reader.h"
#include "text/tokenizer.h"

namespace carat {

// All parts come first, so that it is known whether the prompt fits before its media are encoded.
class PromptBuilder {
 public:
  // `media`: of all parts, in their order; each was examined. They must outlive the builder.
  PromptBuilder(const text::Tokenizer& tokenizer, std::vector<ShownMedium*> media);

  // Errors: of EncodeSegments.
  Status Add(std::span<const text::ChatSegment> segments);
  void Add(std::span<const TokenId> ids) { ids_.insert(ids_.end(), ids.begin(), ids.end()); }

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  std::span<const TokenId> ids() const { return ids_; }
  text::ReplyStart start() const { return start_; }  // of an answer that follows
  // The indices of all soft tokens.
  std::vector<int64_t> SoftPositions() const;
  // Each medium was encoded.
  Timeline Finish() const;

 private:
  const text::Tokenizer& tokenizer_;
  const std::vector<ShownMedium*> media_;
  std::vector<TokenId> ids_;
  std::vector<int64_t> places_;  // of the first soft token of each frame
  size_t placed_ = 0;            // media
  text::ReplyStart start_ = text::ReplyStart::kContent;
};

}  // namespace carat
