// Where the input of a trace comes from: a prompt with media, or a dump.
#include <algorithm>
#include <iterator>
#include <string>

#include "base/try.h"
#include "engine/engine_impl.h"
#include "engine/prompt_builder.h"
#include "engine/trace.h"
#include "text/chat.h"
#include "text/chat_ids.h"

namespace carat {

Result<TraceInput> TraceInputOf(const Engine& engine, const std::string& prompt, std::span<const Medium> media,
                                const MediaOptions& options) {
  Json parts = Json::array();
  for (const Medium& medium : media) parts.push_back(PartOfMedium(medium));
  parts.push_back({{"type", "text"}, {"text", prompt}});
  return TraceInputOf(engine, Json::array({{{"role", "user"}, {"content", std::move(parts)}}}), options);
}

Result<TraceInput> TraceInputOf(const Engine& engine, const Json& messages, const MediaOptions& options) {
  const Engine::Impl& impl = engine.impl();
  const auto format = impl.tokenizer ? text::ChatFormatOf(*impl.tokenizer) : std::nullopt;
  if (!format)
    return Fail(ErrorCode::kUsage, impl.info.path.string() +
                                       ": a prompt needs a tokenizer with turns, which the model does not have; a file "
                                       "with input_ids would work");
  TRY_ASSIGN(const auto segments, text::RenderChat(*format, {.messages = &messages}));
  TraceInput input;
  std::vector<std::shared_ptr<ShownMedium>> shown;
  for (size_t i = 0; i < messages.size(); ++i) {
    TRY_ASSIGN(auto media, MediaOfMessage(messages[i], /*may_read_files=*/true, "message " + std::to_string(i)));
    std::ranges::move(media, std::back_inserter(shown));
  }
  if (!shown.empty()) TRY(impl.CheckSees());
  std::vector<ShownMedium*> pointers;
  for (const auto& medium : shown) {
    pointers.push_back(medium.get());
    TRY(medium->Examine(*impl.images, impl.Complete(options)));
    TRY(medium->ForEachFrame(*impl.images, [&](const SeenPicture& seen) -> Status {
      TRY_ASSIGN(gemma::PatchGrid patches, impl.images->Cut(seen));
      input.pictures.push_back(std::move(patches));
      return {};
    }));
  }
  PromptBuilder builder(*impl.tokenizer, std::move(pointers));
  TRY(builder.Add(segments));
  input.ids.assign(builder.ids().begin(), builder.ids().end());
  input.soft = builder.SoftPositions();
  return input;
}

Result<std::vector<gemma::PatchGrid>> PicturesOf(std::span<const float> values, std::span<const int32_t> positions) {
  const size_t count = positions.size() / 2;
  if (count == 0 || positions.size() % 2 != 0 || values.size() % count != 0)
    return Fail(ErrorCode::kUsage, "position_ids must have a column and a row for each patch");
  const size_t width = values.size() / count;
  std::vector<gemma::PatchGrid> pictures;
  for (size_t begin = 0; begin < count;) {
    size_t end = begin;  // of the picture: where the next one begins again at the upper left
    int64_t columns = 0;
    do {
      columns = std::max(columns, int64_t{positions[2 * end]} + 1);
      ++end;
    } while (end < count && (positions[2 * end] != 0 || positions[2 * end + 1] != 0));
    const auto patches = static_cast<int64_t>(end - begin);
    for (int64_t i = 0; i < patches; ++i) {
      const size_t at = 2 * (begin + static_cast<size_t>(i));
      if (columns <= 0 || patches % columns != 0 || positions[at] != i % columns || positions[at + 1] != i / columns)
        return Fail(ErrorCode::kUsage, "position_ids do not go through a picture row by row");
    }
    const std::span<const float> own = values.subspan(begin * width, (end - begin) * width);
    pictures.push_back({.columns = columns, .rows = patches / columns, .values = {own.begin(), own.end()}});
    begin = end;
  }
  return pictures;
}

}  // namespace carat
