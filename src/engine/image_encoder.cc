#include "engine/image_encoder.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "base/try.h"
#include "gemma/census.h"

namespace carat {

namespace {

// Of pictures and their soft tokens, 3.5 MB for each at the usual budget: the frames of a video, or what a
// conversation looks at again and again.
constexpr uint64_t kMostCacheBytes = 32 << 20;

}  // namespace

ImageEncoder::ImageEncoder(const ops::Context& context, const formats::Checkpoint& model, std::filesystem::path mmproj,
                           int64_t hidden)
    : context_(context), model_(model), mmproj_(std::move(mmproj)), hidden_(hidden) {}

Result<ImageEncoder::Tower*> ImageEncoder::Load() {
  if (tower_) return tower_.get();
  auto tower = std::make_unique<Tower>();
  if (!mmproj_.empty()) {
    TRY_ASSIGN(tower->file, formats::Checkpoint::Open(mmproj_));
  }
  const formats::Checkpoint& checkpoint = mmproj_.empty() ? model_ : tower->file;
  TRY_ASSIGN(tower->model, gemma::VisionModel::Load(checkpoint));
  if (tower->model.config.text_hidden != hidden_)
    return Fail(ErrorCode::kBadModel, checkpoint.path().string() + ": the vision tower gives vectors of " +
                                          std::to_string(tower->model.config.text_hidden) +
                                          " numbers, but the model takes " + std::to_string(hidden_) +
                                          "; it belongs to another model");
  tower->pages = PagesOf(gemma::WeightBytes(tower->model, tower->model.config.positions));
  const PageRanges read_whole = PagesOf(gemma::WeightBytes(tower->model, 0));
  for (const MappedFile& file : checkpoint.files()) ExpectAll(read_whole, file);
  tower_ = std::move(tower);
  return tower_.get();
}

void ImageEncoder::Drop() {
  const std::scoped_lock lock(mutex_);
  if (tower_) Release(tower_->pages);
  tower_.reset();
}

Result<ImageEncoder::Need> ImageEncoder::Plan(int64_t tokens) {
  const std::scoped_lock lock(mutex_);
  TRY_ASSIGN(const Tower* tower, Load());
  const gemma::VisionConfig& config = tower->model.config;
  const int64_t patches = tokens * config.pooling * config.pooling;
  // A strip is as long as it has soft tokens.
  const int64_t side = tokens * config.pooling;
  const gemma::VisionEncoder encoder(tower->model, context_, patches);
  const auto values = static_cast<uint64_t>(patches * config.patch_values());
  return Need{.weights = TotalBytes(PagesOf(gemma::WeightBytes(tower->model, side))),
              .activations = encoder.scratch().reserved + values * (sizeof(float) + 1),
              .kept = kMostCacheBytes};
}

Result<SeenPicture> ImageEncoder::Measure(int64_t width, int64_t height, int64_t budget) {
  TRY_ASSIGN(const gemma::PatchShape shape, Shape());
  SeenPicture seen;
  seen.width = static_cast<int>(width);
  seen.height = static_cast<int>(height);
  TRY_ASSIGN(seen.size, gemma::TargetSize({width, height}, shape, budget));
  seen.tokens = gemma::SoftTokens(seen.size, shape);
  return seen;
}

Result<SeenPicture> ImageEncoder::Look(const media::Image& image, int64_t budget, gemma::PixelScaling scaling) {
  TRY_ASSIGN(SeenPicture seen, Measure(image.width, image.height, budget));
  seen.scaling = scaling;
  seen.rgb = gemma::Resample({{image.width, image.height}, image.rgb}, seen.size, context_);
  return seen;
}

Result<gemma::PatchGrid> ImageEncoder::Cut(const SeenPicture& picture) {
  TRY_ASSIGN(const gemma::PatchShape shape, Shape());
  return gemma::MakePatches({picture.size, picture.rgb}, shape.patch, picture.scaling, context_);
}

Result<gemma::PatchShape> ImageEncoder::Shape() {
  const std::scoped_lock lock(mutex_);
  TRY_ASSIGN(const Tower* tower, Load());
  return gemma::PatchShape{.patch = tower->model.config.patch, .pooling = tower->model.config.pooling};
}

Result<ImageEncoder::Encoded> ImageEncoder::Encode(const SeenPicture& picture, const ProgressCallback& progress) {
  {
    const std::scoped_lock lock(mutex_);
    if (auto found = Find(picture)) return Encoded{.tokens = std::move(found), .at_hand = true};
  }
  TRY_ASSIGN(const gemma::PatchGrid patches, Cut(picture));
  const std::scoped_lock lock(mutex_);
  TRY_ASSIGN(auto tokens, Run(patches, {}, progress));
  Keep(picture, tokens);
  return Encoded{.tokens = std::move(tokens)};
}

Result<std::shared_ptr<const SoftTokens>> ImageEncoder::Trace(const gemma::PatchGrid& patches,
                                                              const gemma::TraceSink& trace) {
  const std::scoped_lock lock(mutex_);
  return Run(patches, trace, {});
}

Result<std::shared_ptr<const SoftTokens>> ImageEncoder::Run(const gemma::PatchGrid& patches,
                                                            const gemma::TraceSink& trace,
                                                            const ProgressCallback& progress) {
  TRY_ASSIGN(Tower * tower, Load());
  if (!tower->encoder || tower->encoder->max_patches() < patches.count()) {
    tower->encoder.reset();  // before there are two
    tower->encoder = std::make_unique<gemma::VisionEncoder>(tower->model, context_, patches.count());
  }
  auto tokens = std::make_shared<SoftTokens>();
  tokens->count = static_cast<int>(tower->encoder->SoftTokens(patches));
  tokens->vectors.resize(static_cast<size_t>(tokens->count * hidden_));
  const auto on_layer = [&](int64_t done, int64_t layers) {
    return !progress ||
           progress({.stage = "encode", .done = static_cast<uint64_t>(done), .total = static_cast<uint64_t>(layers)});
  };
  TRY(tower->encoder->Encode(patches, tokens->vectors, trace, on_layer));
  return tokens;
}

std::shared_ptr<const SoftTokens> ImageEncoder::Find(const SeenPicture& picture) {
  const auto found = std::ranges::find_if(cache_, [&](const CacheEntry& entry) {
    return entry.picture.size == picture.size && entry.picture.scaling == picture.scaling &&
           entry.picture.rgb == picture.rgb;
  });
  if (found == cache_.end()) return nullptr;
  cache_.splice(cache_.begin(), cache_, found);
  return cache_.front().tokens;
}

void ImageEncoder::Keep(const SeenPicture& picture, std::shared_ptr<const SoftTokens> tokens) {
  cache_.push_front({picture, std::move(tokens)});
  cache_bytes_ += cache_.front().size_bytes();
  while (cache_bytes_ > kMostCacheBytes) {
    cache_bytes_ -= cache_.back().size_bytes();
    cache_.pop_back();
  }
}

std::vector<std::filesystem::path> MmprojFilesBeside(const std::filesystem::path& model) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  const std::filesystem::path folder = model.parent_path().empty() ? "." : model.parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".gguf" && name.find("mmproj") != name.npos) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace carat
