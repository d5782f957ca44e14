#include "engine/shown_medium.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/base64.h"
#include "base/try.h"
#include "gemma/video_input.h"
#include "media/image.h"
#include "media/video.h"
#include "text/chat_values.h"

namespace carat {

namespace {

using Kind = Medium::Kind;
using text::ChatSegment;

constexpr std::string_view kFileScheme = "file://", kDataScheme = "data:";

bool IsRemote(std::string_view text) { return text.starts_with("http://") || text.starts_with("https://"); }
bool IsUrl(std::string_view text) {
  return text.starts_with(kFileScheme) || text.starts_with(kDataScheme) || IsRemote(text);
}

Result<media::Image> ReadPicture(const Medium& source, const std::string& name, const media::ImageLimits& limits) {
  if (source.path.empty()) return media::DecodeImage(std::as_bytes(std::span(source.bytes)), name, limits);
  return media::ReadImage(source.path, limits);
}

// What a client calls a picture: the text of "path", "url", "image" or "image_url", or the "url" in an object there.
text::Value SourceOf(const Json& part) {
  for (const char* key : {"path", "url", "image", "video", "image_url", "video_url"}) {
    const text::Value value = text::Member(&part, key);
    if (text::IsMapping(value)) return text::Member(value, "url");
    if (value != nullptr) return value;
  }
  return nullptr;
}

// The picture in "data:image/jpeg;base64,...".
Result<std::string> DataOf(std::string_view url, const std::string& where) {
  const size_t comma = url.find(',');
  if (comma == url.npos || !url.substr(0, comma).ends_with(";base64"))
    return Fail(ErrorCode::kUsage, where + ": a data: URL without base64; data:image/jpeg;base64,... would work");
  auto bytes = DecodeBase64(url.substr(comma + 1));
  if (!bytes) return Fail(ErrorCode::kUsage, where + ": " + bytes.error().message);
  return bytes;
}

Result<Medium> MediumOfPart(const Json& part, Kind kind, bool may_read_files, const std::string& where) {
  Medium medium = {.kind = kind};
  const text::Value source = SourceOf(part);
  if (!text::IsString(source))
    return Fail(
        ErrorCode::kUsage,
        where + ": names no file; {\"type\": \"image\", \"path\": ...}, or image_url with a data: URL would work");
  std::string_view text = source->get_ref<const std::string&>();
  if (text.starts_with(kDataScheme) && kind == Kind::kVideo) {
    return Fail(ErrorCode::kUsage, where + ": a video in a data: URL; videos are read from files");
  } else if (text.starts_with(kDataScheme)) {
    TRY_ASSIGN(medium.bytes, DataOf(text, where));
    medium.name = where;
  } else if (IsRemote(text)) {
    return Fail(ErrorCode::kUsage, where + ": nothing is fetched from a network; download the file and name it");
  } else if (!may_read_files) {
    return Fail(ErrorCode::kUsage, where + ": files may not be named here; a picture in a data: URL would work");
  } else {
    if (text.starts_with(kFileScheme)) text.remove_prefix(kFileScheme.size());
    if (text.empty()) return Fail(ErrorCode::kUsage, where + ": the name of the file is empty");
    medium.path = text;
  }
  if (const text::Value tokens = text::Member(&part, "max_soft_tokens"); tokens != nullptr) {
    const int64_t count = tokens->is_number_integer() ? tokens->get<int64_t>() : 0;
    if (std::ranges::find(gemma::kImageBudgets, count) == gemma::kImageBudgets.end())
      return Fail(ErrorCode::kUsage, where + ": max_soft_tokens must be 70, 140, 280, 560 or 1120");
    (kind == Kind::kImage ? medium.options.image_tokens : medium.options.frame_tokens) = static_cast<int>(count);
  }
  if (const text::Value frames = text::Member(&part, "num_frames"); frames != nullptr) {
    const int64_t count = frames->is_number_integer() ? frames->get<int64_t>() : 0;
    if (count < 1 || count > gemma::kMaxSampledFrames)
      return Fail(ErrorCode::kUsage, where + ": num_frames must be 1 to " + std::to_string(gemma::kMaxSampledFrames));
    medium.options.video_frames = static_cast<int>(count);
  }
  if (const text::Value fps = text::Member(&part, "fps"); fps != nullptr) {
    medium.options.video_fps = fps->is_number() ? fps->get<double>() : 0;
    if (!(medium.options.video_fps > 0)) return Fail(ErrorCode::kUsage, where + ": fps must be a number above 0");
  }
  return medium;
}

}  // namespace

std::string ShownMedium::name() const { return source_.name.empty() ? source_.path.string() : source_.name; }

Status ShownMedium::Examine(ImageEncoder& encoder, const MediaOptions& options, const media::ImageLimits& limits) {
  if (!frames_.empty()) return {};
  report_.name = name();
  TRY(source_.kind == Kind::kImage ? ExaminePicture(encoder, options, limits) : ExamineVideo(encoder, options, limits));
  report_.frames = static_cast<int>(frames_.size());
  report_.tokens = static_cast<int>(frame_tokens_) * report_.frames;
  return {};
}

Status ShownMedium::ExaminePicture(ImageEncoder& encoder, const MediaOptions& options,
                                   const media::ImageLimits& limits) {
  budget_ = source_.options.image_tokens != 0 ? source_.options.image_tokens : options.image_tokens;
  TRY_ASSIGN(const media::Image image, ReadPicture(source_, name(), limits));
  TRY_ASSIGN(picture_, encoder.Look(image, budget_, gemma::PixelScaling::kImage));
  ReportSize(*picture_);
  frames_.emplace_back();
  return {};
}

Status ShownMedium::ExamineVideo(ImageEncoder& encoder, const MediaOptions& options, const media::ImageLimits& limits) {
  const MediaOptions& own = source_.options;
  budget_ = own.frame_tokens != 0 ? own.frame_tokens : options.frame_tokens;
  TRY_ASSIGN(video_, media::ProbeVideo(source_.path));
  if (const Status size = media::CheckSize(video_->width, video_->height, limits); !size)
    return Fail(size.error().code, name() + ": " + size.error().message);
  TRY_ASSIGN(const SeenPicture seen, encoder.Measure(video_->width, video_->height, budget_));
  ReportSize(seen);
  gemma::FrameSampling sampling = {.frames = own.video_frames, .frames_per_second = own.video_fps};
  if (own.video_frames == 0 && own.video_fps == 0)
    sampling = {.frames = options.video_frames, .frames_per_second = options.video_fps};
  const double rate = gemma::FrameRate(video_->fps);
  TRY_ASSIGN(const std::vector<int64_t> indices, gemma::SampleFrames(video_->frames, rate, sampling));
  for (const int64_t index : indices)
    frames_.push_back({.index = index, .lead = gemma::FrameLead(frames_.size(), index, rate), .tokens = {}});
  return {};
}

void ShownMedium::ReportSize(const SeenPicture& frame) {
  report_.width = frame.width;
  report_.height = frame.height;
  report_.seen_width = static_cast<int>(frame.size.width);
  report_.seen_height = static_cast<int>(frame.size.height);
  frame_tokens_ = frame.tokens;
}

// One frame at a time is in memory, and goes through the tower before the next one is decoded.
Status ShownMedium::ForEachFrame(ImageEncoder& encoder, const std::function<Status(const SeenPicture&)>& show) const {
  if (source_.kind == Kind::kImage) return show(*picture_);
  std::vector<int64_t> indices;
  for (const Frame& frame : frames_) indices.push_back(frame.index);
  return media::ReadVideoFrames(source_.path, *video_, indices, [&](int64_t, const media::Image& image) -> Status {
    TRY_ASSIGN(const SeenPicture seen, encoder.Look(image, budget_, gemma::PixelScaling::kVideoFrame));
    return show(seen);
  });
}

Status ShownMedium::Encode(ImageEncoder& encoder, const ProgressCallback& progress) {
  report_.encoded = false;
  if (encoded()) return {};
  const uint64_t total = frames_.size();
  uint64_t done = 0;
  // Of a picture the layers are shown; of a video the frames.
  TRY(ForEachFrame(encoder, [&](const SeenPicture& seen) -> Status {
    if (video_ && progress && !progress({.stage = "encode", .done = done, .total = total}))
      return Fail(ErrorCode::kInterrupted,
                  name() + ": interrupted after " + std::to_string(done) + " of " + std::to_string(total) + " frames");
    TRY_ASSIGN(ImageEncoder::Encoded encoded, encoder.Encode(seen, video_ ? ProgressCallback() : progress));
    report_.encoded |= !encoded.at_hand;
    frames_[done++].tokens = std::move(encoded.tokens);
    return {};
  }));
  picture_.reset();
  return {};
}

// A picture stands between its markers; a video is its frames, each between the same markers behind its time.
void ShownMedium::WriteTo(ChatSegment place, std::vector<ChatSegment>& segments) const {
  using SegmentKind = ChatSegment::Kind;
  place.count = frame_tokens_;
  for (const Frame& frame : frames_) {
    if (!frame.lead.empty()) segments.push_back({.kind = SegmentKind::kText, .text = frame.lead});
    segments.push_back({.kind = SegmentKind::kControl, .text = "<|image>"});
    segments.push_back(place);
    segments.push_back({.kind = SegmentKind::kControl, .text = "<image|>"});
  }
}

std::vector<std::shared_ptr<const SoftTokens>> ShownMedium::soft_tokens() const {
  std::vector<std::shared_ptr<const SoftTokens>> tokens;
  for (const Frame& frame : frames_) tokens.push_back(frame.tokens);
  return tokens;
}

Result<std::vector<std::shared_ptr<ShownMedium>>> MediaOfMessage(const Json& message, bool may_read_files,
                                                                 const std::string& where) {
  std::vector<std::shared_ptr<ShownMedium>> media;
  const text::Value content = text::Member(&message, "content");
  if (content == nullptr || !content->is_array()) return media;
  for (size_t i = 0; i < content->size(); ++i) {
    const Json& part = (*content)[i];
    const text::Value type = text::Member(&part, "type");
    if (text::Is(type, "text")) continue;
    const std::string here = where + ", part " + std::to_string(i);
    if (text::Is(type, "audio") || text::Is(type, "input_audio"))
      return Fail(ErrorCode::kUsage, here + ": audio; this version takes text, pictures and videos");
    const bool image = text::Is(type, "image") || text::Is(type, "image_url"), video = text::Is(type, "video");
    if (!image && !video)
      return Fail(ErrorCode::kUsage, here + ": its type is " + (text::IsString(type) ? text::Print(type) : "missing") +
                                         "; text, image, image_url and video would work");
    TRY_ASSIGN(Medium medium, MediumOfPart(part, image ? Kind::kImage : Kind::kVideo, may_read_files, here));
    media.push_back(std::make_shared<ShownMedium>(std::move(medium)));
  }
  return media;
}

Json StubOfMedium(Kind kind) { return {{"type", kind == Kind::kImage ? "image" : "video"}}; }

Json PartOfMedium(const Medium& medium) {
  const bool image = medium.kind == Kind::kImage;
  Json part = StubOfMedium(medium.kind);
  if (medium.path.empty()) {
    part["url"] = "data:application/octet-stream;base64," + EncodeBase64(medium.bytes);
  } else {
    std::error_code error;
    std::string path = std::filesystem::absolute(medium.path, error).string();
    if (error) path = medium.path.string();
    part["path"] = (IsUrl(path) ? std::string(kFileScheme) : "") + path;
  }
  const int tokens = image ? medium.options.image_tokens : medium.options.frame_tokens;
  if (tokens != 0) part["max_soft_tokens"] = tokens;
  if (medium.options.video_frames != 0) part["num_frames"] = medium.options.video_frames;
  if (medium.options.video_fps != 0) part["fps"] = medium.options.video_fps;
  return part;
}

}  // namespace carat
