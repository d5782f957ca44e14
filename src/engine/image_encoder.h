// Pictures to soft tokens: the vision tower, loaded when it is first needed, and what it has encoded lately.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "carat/engine.h"
#include "carat/media.h"
#include "carat/result.h"
#include "engine/weight_pages.h"
#include "formats/checkpoint.h"
#include "gemma/image_input.h"
#include "gemma/vision_encoder.h"
#include "gemma/vision_model.h"
#include "media/image.h"
#include "ops/context.h"

namespace carat {

// A picture or a frame as the tower sees it.
struct SeenPicture {
  int width = 0, height = 0;  // pixels, before
  gemma::ImageSize size;      // pixels, as seen
  std::vector<uint8_t> rgb;   // [size.height, size.width, 3]
  gemma::PixelScaling scaling = gemma::PixelScaling::kImage;
  int64_t tokens = 0;  // soft tokens that it becomes
};

// Any thread; encodings take turns.
class ImageEncoder {
 public:
  // The tower is in the Hugging Face folder `model`, or in the file `mmproj` unless that is empty. Its soft tokens must
  // be as wide as `hidden`. `model` and what `context` points to must outlive the encoder.
  ImageEncoder(const ops::Context& context, const formats::Checkpoint& model, std::filesystem::path mmproj,
               int64_t hidden);

  // The picture at the size that a budget of soft tokens gives it. Errors: those of loading the tower (kBadModel,
  // kNotFound), kUsage (no such budget).
  Result<SeenPicture> Look(const media::Image& image, int64_t budget, gemma::PixelScaling scaling);
  // How large, and how many soft tokens, a picture of this size would be. Errors as of Look.
  Result<SeenPicture> Measure(int64_t width, int64_t height, int64_t budget);

  struct Encoded {
    std::shared_ptr<const SoftTokens> tokens;
    bool at_hand = false;  // it was encoded before
  };
  // `progress`: stage "encode", layer by layer. Errors: as of Look; kDoesNotFit, kInterrupted.
  Result<Encoded> Encode(const SeenPicture& picture, const ProgressCallback& progress = {});
  // The picture cut into what the tower reads. Errors: of loading it.
  Result<gemma::PatchGrid> Cut(const SeenPicture& picture);
  // The same of patches that come from elsewhere, with their activations.
  Result<std::shared_ptr<const SoftTokens>> Trace(const gemma::PatchGrid& patches, const gemma::TraceSink& trace);

  // Lets go of the tower and its activations until it is needed again. What was encoded stays.
  void Drop();

  // What pictures of up to so many soft tokens take of the memory. Errors: those of loading the tower.
  struct Need {
    uint64_t weights = 0;      // pages of files
    uint64_t activations = 0;  // and the patches
    uint64_t kept = 0;         // what was encoded lately
  };
  Result<Need> Plan(int64_t tokens);

 private:
  struct Tower {
    formats::Checkpoint file;  // of its own, if it is not in the model's
    gemma::VisionModel model;
    PageRanges pages;                               // of its weights
    std::unique_ptr<gemma::VisionEncoder> encoder;  // for as many patches as were needed so far
  };
  struct CacheEntry {
    SeenPicture picture;
    std::shared_ptr<const SoftTokens> tokens;
    uint64_t size_bytes() const { return picture.rgb.size() + tokens->vectors.size() * sizeof(float); }
  };

  Result<gemma::PatchShape> Shape();
  // These with mutex_.
  Result<Tower*> Load();
  Result<std::shared_ptr<const SoftTokens>> Run(const gemma::PatchGrid& patches, const gemma::TraceSink& trace,
                                                const ProgressCallback& progress);
  std::shared_ptr<const SoftTokens> Find(const SeenPicture& picture);
  void Keep(const SeenPicture& picture, std::shared_ptr<const SoftTokens> tokens);

  const ops::Context context_;
  const formats::Checkpoint& model_;
  const std::filesystem::path mmproj_;
  const int64_t hidden_;

  std::mutex mutex_;
  std::unique_ptr<Tower> tower_;
  std::list<CacheEntry> cache_;  // the one used last is the first
  uint64_t cache_bytes_ = 0;
};

// The .gguf files beside `model` whose names have "mmproj" in them, by name.
std::vector<std::filesystem::path> MmprojFilesBeside(const std::filesystem::path& model);

}  // namespace carat
