#include "cli/chat_settings.h"

#include <fmt/format.h>

#include <charconv>
#include <type_traits>

#include "base/try.h"

namespace carat::cli {
namespace {

template <typename T>
Status Parse(std::string_view text, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (text != "on" && text != "off") return Fail(ErrorCode::kUsage, fmt::format("'{}' is neither on nor off", text));
    value = text == "on";
    return {};
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return {};
    const char* kind = std::is_floating_point_v<T> ? "a number" : "a whole number in range";
    return Fail(ErrorCode::kUsage, fmt::format("'{}' is not {}", text, kind));
  }
}

std::string Print(bool value) { return value ? "on" : "off"; }
template <typename T>
std::string Print(T value) {
  return fmt::format("{}", value);
}

// The one list of settings: calls visit(name, reference) for each.
template <typename Visit>
void VisitSettings(ConversationOptions& options, SamplingOptions& sampling, const Visit& visit) {
  visit("think", options.think);
  visit("max-tokens", options.max_tokens);
  visit("temperature", sampling.temperature);
  visit("top-k", sampling.top_k);
  visit("top-p", sampling.top_p);
  visit("min-p", sampling.min_p);
  visit("repetition-penalty", sampling.repetition_penalty);
  visit("frequency-penalty", sampling.frequency_penalty);
  visit("presence-penalty", sampling.presence_penalty);
  visit("seed", sampling.seed);
}

}  // namespace

std::string DescribeSettings(const Conversation& conversation) {
  ConversationOptions options = conversation.options();
  SamplingOptions sampling = conversation.session().sampling();
  std::string out;
  VisitSettings(options, sampling,
                [&](const char* name, const auto& value) { out += fmt::format("{:<20} {}\n", name, Print(value)); });
  return out;
}

Status ChangeSetting(Conversation& conversation, std::string_view name, std::string_view value) {
  ConversationOptions options = conversation.options();
  SamplingOptions sampling = conversation.session().sampling();
  std::string names;
  Status parsed;
  bool found = false;
  VisitSettings(options, sampling, [&](const char* candidate, auto& setting) {
    names += (names.empty() ? "" : ", ") + std::string(candidate);
    if (name != candidate) return;
    found = true;
    parsed = Parse(value, setting);
  });
  if (!found) return Fail(ErrorCode::kUsage, fmt::format("there is no setting '{}'; there are: {}", name, names));
  if (!parsed) return Fail(ErrorCode::kUsage, fmt::format("{}: {}", name, parsed.error().message));
  TRY(conversation.session().set_sampling(sampling));
  return conversation.set_options(options);
}

}  // namespace carat::cli
