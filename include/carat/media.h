// Media: pictures and videos that a user shows to a model, and the soft tokens that they become.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"

namespace carat {

// How much of a medium the model gets to see.
struct MediaOptions {
  // Most soft tokens of a picture: 70, 140, 280, 560 or 1120. More show finer detail and take longer (small print wants
  // 560 and up). 0: as the checkpoint was published, 280 if it does not say.
  int image_tokens = 0;
  int frame_tokens = 0;  // the same of each frame of a video; 0: as published, else 70
  // Frames of a video, evenly spread over it; those there are, if that is less. 0: as published, else 32.
  int video_frames = 0;
  double video_fps = 0;  // above 0: so many frames for each second of video, instead of video_frames
};

// A picture (JPEG, PNG, WebP, BMP, GIF; what else `ffmpeg` can read) or a video.
struct Medium {
  enum class Kind { kImage, kVideo };
  Kind kind = Kind::kImage;
  std::filesystem::path path = {};  // of the file, read when the medium is first needed
  std::string bytes = {};           // of a picture: what such a file holds, instead of a path
  std::string name = {};            // for messages; empty: the path
  MediaOptions options = {};        // what is 0 here is as the conversation has it
};

// By the first bytes of a file (400 are enough); none if they are of nothing that is surely a picture or a video.
std::optional<Medium::Kind> RecogniseMedium(std::string_view head);
// The file as a medium if that is what it surely is; none also if it cannot be read.
std::optional<Medium> RecogniseFile(const std::filesystem::path& path);
// A file as a medium: what it is is seen in its first bytes, and what they do not tell is taken for a picture. Error:
// kBadMedia (no such file, no file, audio).
Result<Medium> OpenMedium(const std::filesystem::path& path);

// What became of a medium.
struct MediumReport {
  std::string name;
  int width = 0, height = 0;            // pixels, after turning it upright
  int seen_width = 0, seen_height = 0;  // pixels, as the model sees it
  int frames = 0;                       // of a picture: 1
  int tokens = 0;                       // soft tokens, of all frames
  bool encoded = false;                 // now; else it was at hand
};

// A run of soft tokens, such as an encoded picture: vectors in the place of embedded text tokens. Immutable once
// shared.
struct SoftTokens {
  int count = 0;
  std::vector<float> vectors;  // [count, hidden]
};

}  // namespace carat
