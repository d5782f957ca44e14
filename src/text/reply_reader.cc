#include "text/reply_reader.h"

#include <utility>

#include "text/chat_tools.h"
#include "text/chat_values.h"

namespace carat::text {
namespace {

constexpr std::string_view kThoughtHeader = "thought\n";

}  // namespace

ReplyStart StartAfter(std::span<const ChatSegment> prompt) {
  const bool in_thought = prompt.size() >= 2 && prompt.back().kind == ChatSegment::Kind::kText &&
                          prompt.back().text == kThoughtHeader && prompt[prompt.size() - 2].text == "<|channel>";
  return in_thought ? ReplyStart::kThought : ReplyStart::kContent;
}

ReplyReader::ReplyReader(const Tokenizer& tokenizer, ReplyStart start, bool thinking, const Json* tools)
    : thinking_(thinking),
      tools_(tools),
      state_(start == ReplyStart::kThought ? State::kThought : State::kContent),
      decoder_(tokenizer, /*control=*/false) {
  constexpr std::pair<std::string_view, Marker> kNames[] = {{"<|channel>", Marker::kChannelOpen},
                                                            {"<channel|>", Marker::kChannelClose},
                                                            {"<|tool_call>", Marker::kCallOpen},
                                                            {"<tool_call|>", Marker::kCallClose},
                                                            {"<|tool_response>", Marker::kResponseOpen},
                                                            {"<tool_response|>", Marker::kResponseClose},
                                                            {kStringQuote, Marker::kQuote},
                                                            {"<turn|>", Marker::kTurnEnd},
                                                            {"<end_of_turn>", Marker::kTurnEnd},
                                                            {"<eos>", Marker::kTurnEnd}};
  for (const auto& [name, marker] : kNames) {
    if (const auto id = tokenizer.Find(name)) markers_.emplace_back(*id, marker);
  }
}

ReplyReader::Marker ReplyReader::MarkerOf(TokenId token) const {
  for (const auto& [id, marker] : markers_) {
    if (id == token) return marker;
  }
  return Marker::kNone;
}

void ReplyReader::Push(TokenId token, Events& events) {
  if (ended()) return;
  const Marker marker = MarkerOf(token);
  if (marker == Marker::kNone) return OnText(decoder_.Push(token), events);
  OnText(decoder_.Finish(), events);  // characters do not go across markers
  OnMarker(marker, events);
}

void ReplyReader::Finish(Events& events) {
  if (ended()) return;
  OnText(decoder_.Finish(), events);
  if (state_ == State::kCall) CloseCall(/*repair=*/false, events);
  End(events);
}

void ReplyReader::OnText(std::string_view text, Events& events) {
  if (text.empty()) return;
  switch (state_) {
    case State::kContent:
      return AddContent(text, events);
    case State::kHeader:
      return AddHeader(text, events);
    case State::kThought:
      return AddThought(text, events);
    case State::kCall:
      call_ += text;
      return;
    case State::kAfterCall:
      text = StripLeft(text);
      if (text.empty()) return;
      state_ = State::kContent;
      return AddContent(text, events);
    case State::kEnded:
      return;
  }
}

// Markers in places where they mean nothing are left out.
void ReplyReader::OnMarker(Marker marker, Events& events) {
  switch (marker) {
    case Marker::kChannelOpen:
      return OpenChannel();
    case Marker::kChannelClose:
      return CloseChannel(events);
    case Marker::kCallOpen:
      return OpenCall(events);
    case Marker::kCallClose:
      if (state_ == State::kCall) CloseCall(/*repair=*/true, events);
      return;
    case Marker::kQuote:
      if (state_ == State::kCall) call_ += kQuoteMark;
      return;
    case Marker::kResponseOpen:
    case Marker::kTurnEnd:
      if (state_ == State::kCall) CloseCall(/*repair=*/true, events);
      return End(events);
    case Marker::kResponseClose:
    case Marker::kNone:
      return;
  }
}

void ReplyReader::OpenChannel() {
  if (state_ == State::kCall || state_ == State::kHeader) return;  // doubled, in the latter
  if (state_ != State::kThought) new_thought_ = true;
  header_.clear();
  state_ = State::kHeader;
}

void ReplyReader::CloseChannel(Events& events) {
  if (state_ == State::kHeader) LeaveHeader(events);
  if (state_ != State::kThought) return;
  held_thought_.clear();
  skip_space_ = true;
  state_ = State::kContent;
}

void ReplyReader::OpenCall(Events& events) {
  if (state_ == State::kHeader) LeaveHeader(events);
  if (state_ == State::kCall) CloseCall(/*repair=*/true, events);  // the model forgot to
  held_thought_.clear();
  call_.clear();
  state_ = State::kCall;
}

void ReplyReader::CloseCall(bool repair, Events& events) {
  state_ = State::kAfterCall;
  skip_space_ = true;
  auto call = repair ? ReadToolCall(call_, tools_) : ParseToolCall(call_);
  if (call) {
    has_calls_ = true;
    events.push_back({Event::Kind::kToolCall, {}, std::move(*call)});
  } else if (!call_.empty()) {
    events.push_back({Event::Kind::kText, std::exchange(held_content_, {}) += CallAsText(call_), {}});
  }
}

// The channel was closed, or its text began, before its header was complete.
void ReplyReader::LeaveHeader(Events& events) {
  state_ = State::kThought;
  const std::string header = std::exchange(header_, {});
  if (header != kThoughtHeader.substr(0, kThoughtHeader.size() - 1)) AddThought(header, events);
}

void ReplyReader::End(Events& events) {
  if (state_ == State::kHeader) LeaveHeader(events);
  if (state_ == State::kContent && !held_content_.empty() && !skip_space_) {
    events.push_back({Event::Kind::kText, std::move(held_content_), {}});
  }
  state_ = State::kEnded;
}

void ReplyReader::AddContent(std::string_view text, Events& events) {
  if (skip_space_) {
    text = StripLeft(text);
    if (text.empty()) return;
    skip_space_ = false;
  }
  const std::string_view certain = StripRight(text);
  if (!certain.empty()) {
    std::string out = std::exchange(held_content_, {});
    events.push_back({Event::Kind::kText, out += certain, {}});
  }
  held_content_ += text.substr(certain.size());
}

void ReplyReader::AddThought(std::string_view text, Events& events) {
  const std::string_view certain = StripRight(text);
  if (!certain.empty()) {
    std::string out;
    if (std::exchange(new_thought_, false) && has_thought_) out += '\n';
    has_thought_ = true;
    out += std::exchange(held_thought_, {});
    out += certain;
    if (thinking_) events.push_back({Event::Kind::kThought, std::move(out), {}});
  }
  held_thought_ += text.substr(certain.size());
}

// A channel begins with the word "thought" on a line of its own; any other text is a part of the thought.
void ReplyReader::AddHeader(std::string_view text, Events& events) {
  header_ += text;
  if (kThoughtHeader.starts_with(header_) && header_.size() < kThoughtHeader.size()) return;
  std::string rest = std::exchange(header_, {});
  if (rest.starts_with(kThoughtHeader)) rest.erase(0, kThoughtHeader.size());
  state_ = State::kThought;
  AddThought(rest, events);
}

}  // namespace carat::text
