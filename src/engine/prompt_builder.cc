#include "engine/prompt_builder.h"

#include <utility>

#include "base/check.h"
#include "base/try.h"
#include "text/chat_ids.h"

namespace carat {

using text::ChatSegment;

PromptBuilder::PromptBuilder(const text::Tokenizer& tokenizer, std::vector<ShownMedium*> media)
    : tokenizer_(tokenizer), media_(std::move(media)) {}

Status PromptBuilder::Add(std::span<const ChatSegment> segments) {
  std::vector<ChatSegment> expanded;
  for (const ChatSegment& segment : segments) {
    if (!segment.is_medium()) {
      expanded.push_back(segment);
      continue;
    }
    CHECK(placed_ < media_.size());
    media_[placed_++]->WriteTo(segment, expanded);
  }
  std::vector<int64_t> places;
  TRY_ASSIGN(const std::vector<TokenId> ids, text::EncodeSegments(tokenizer_, expanded, &places));
  for (const int64_t place : places) places_.push_back(size() + place);
  Add(ids);
  start_ = text::StartAfter(segments);
  return {};
}

std::vector<int64_t> PromptBuilder::SoftPositions() const {
  std::vector<int64_t> positions;
  size_t next = 0;
  for (const ShownMedium* medium : media_) {
    for (int frame = 0; frame < medium->report().frames; ++frame, ++next)
      for (int64_t i = 0; i < medium->frame_tokens(); ++i) positions.push_back(places_[next] + i);
  }
  return positions;
}

Timeline PromptBuilder::Finish() const {
  std::vector<SoftRun> soft;
  for (const ShownMedium* medium : media_) {
    for (auto& tokens : medium->soft_tokens()) {
      const int64_t count = tokens->count;
      soft.push_back({.position = places_[soft.size()], .tokens = std::move(tokens), .count = count});
    }
  }
  Timeline prompt;
  prompt.Append({.ids = ids_, .soft = soft});
  return prompt;
}

}  // namespace carat
