// A medium of a conversation: where it comes from, and what becomes of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "carat/media.h"
#include "carat/result.h"
#include "engine/image_encoder.h"
#include "media/video.h"
#include "text/chat.h"

namespace carat {

// A picture, or a video as the frames that are shown of it.
class ShownMedium {
 public:
  explicit ShownMedium(Medium source) : source_(std::move(source)) {}

  // Reads the medium, unless that was done: how many frames and soft tokens it has. Options that the source leaves open
  // are those of `options`; a picture's file must keep to `limits`. Errors: kBadMedia, kNotFound as kUsage; those of
  // ImageEncoder::Look.
  Status Examine(ImageEncoder& encoder, const MediaOptions& options, const media::ImageLimits& limits = {});
  // Encodes it, unless that was done. Errors: kBadMedia, and of ImageEncoder::Encode.
  Status Encode(ImageEncoder& encoder, const ProgressCallback& progress);

  // Shows its frames one after the other, as the tower sees them; a picture is one. Examine comes first. Errors:
  // kBadMedia, and what `show` returns.
  Status ForEachFrame(ImageEncoder& encoder, const std::function<Status(const SeenPicture&)>& show) const;

  // The medium in a prompt, between the markers of the chat format, where the template has put `place`. Examine comes
  // first.
  void WriteTo(text::ChatSegment place, std::vector<text::ChatSegment>& segments) const;
  // After Encode, frame by frame.
  std::vector<std::shared_ptr<const SoftTokens>> soft_tokens() const;
  int64_t frame_tokens() const { return frame_tokens_; }  // of each frame
  bool encoded() const { return !frames_.empty() && frames_.back().tokens != nullptr; }
  const MediumReport& report() const { return report_; }
  Medium::Kind kind() const { return source_.kind; }
  const Medium& source() const { return source_; }

 private:
  struct Frame {
    int64_t index = 0;  // in the video
    std::string lead;   // the text before a video's frame: its time
    std::shared_ptr<const SoftTokens> tokens;
  };

  Status ExaminePicture(ImageEncoder& encoder, const MediaOptions& options, const media::ImageLimits& limits);
  Status ExamineVideo(ImageEncoder& encoder, const MediaOptions& options, const media::ImageLimits& limits);
  void ReportSize(const SeenPicture& frame);
  std::string name() const;

  Medium source_;
  MediumReport report_;
  std::vector<Frame> frames_;  // of a picture: one
  int64_t frame_tokens_ = 0;
  int64_t budget_ = 0;
  std::optional<SeenPicture> picture_;     // until it is encoded
  std::optional<media::VideoInfo> video_;  // of a video
};

// The media among the parts of a message, in their order. `may_read_files`: whether a part may name a file; else it
// brings the picture itself, as base64 in a data: URL. Error: kUsage, naming the part of `where`.
Result<std::vector<std::shared_ptr<ShownMedium>>> MediaOfMessage(const Json& message, bool may_read_files,
                                                                 const std::string& where);

// What the template sees of a medium. Where it comes from, which may be megabytes of base64, is not copied with every
// rendering.
Json StubOfMedium(Medium::Kind kind);
// A medium as a part of a message, which MediaOfMessage reads.
Json PartOfMedium(const Medium& medium);

}  // namespace carat
