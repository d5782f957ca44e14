// Collects the segments of a prompt.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "text/chat.h"

namespace carat::text {

class SegmentWriter {
 public:
  void Text(std::string_view text) {
    if (text.empty()) return;
    if (segments_.empty() || segments_.back().kind != ChatSegment::Kind::kText) {
      segments_.push_back({.kind = ChatSegment::Kind::kText, .text = {}});
    }
    segments_.back().text += text;
  }
  void Control(std::string_view token) {
    segments_.push_back({.kind = ChatSegment::Kind::kControl, .text = std::string(token)});
  }
  void Medium(ChatSegment::Kind kind, std::string_view placeholder) {
    segments_.push_back({.kind = kind, .text = std::string(placeholder)});
  }
  std::vector<ChatSegment> Take() { return std::move(segments_); }

 private:
  std::vector<ChatSegment> segments_;
};

}  // namespace carat::text
