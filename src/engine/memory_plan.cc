// The memory plan. Sizes are not computed beside the code that takes memory: what is there is measured, and a session
// is made for every candidate. Its buffers are address space that nothing has touched, so that costs no memory.
#include "carat/memory_plan.h"

#include <algorithm>
#include <string>

#include "base/byte_size.h"
#include "base/process_memory.h"
#include "base/resident.h"
#include "base/try.h"
#include "engine/engine_impl.h"
#include "engine/session_impl.h"

namespace carat {

namespace {

constexpr int kLeastBatch = 16, kLeastContext = 512;
constexpr int kBriskBatch = 64;    // below, a prefill gets much slower
constexpr int kContextStep = 256;  // contexts that a plan chooses are multiples of this
// What is too small to be planned one by one: the texts of a conversation, its prompt, an answer as it is written. A
// token is some five letters, which are held up to four times, and its id twice.
constexpr uint64_t kTextBytesPerToken = 64;
constexpr uint64_t kThreadBytes = 64 << 10;  // of a thread's stack
// What is measured is rounded up to a multiple of this and one more, so that plans are the same from run to run.
constexpr uint64_t kProgramStep = 512 << 10;

// Pixels that a picture's file may have at least where memory is planned: those of most telephones. Decoding takes 12
// bytes for each (a progressive JPEG), and such a file a byte more.
constexpr uint64_t kPlannedPixels = 16'000'000;
constexpr uint64_t kBytesPerPixel = 13;
const uint64_t kMostPixels = media::ImageLimits().pixels;

// What is resident whatever the session is.
struct Fixed {
  uint64_t weights = 0, copying = 0, tokenizer = 0, program = 0, peak = 0;
  ImageEncoder::Need pictures;
};

Fixed MeasureFixed(const Engine::Impl& engine) {
  ReturnFreedMemory();  // of plans made before, say
  const ProcessMemory process = MeasureProcessMemory();
  Fixed fixed;
  fixed.weights = TotalBytes(engine.weight_pages);
  fixed.tokenizer = engine.tokenizer ? engine.tokenizer->memory_bytes() : 0;
  fixed.copying = engine.copies.filling_bytes(engine.pool->size());
  // The heap is what it is now: nothing is added to it but sessions.
  const uint64_t known = fixed.tokenizer + engine.copies.resident_bytes();
  const uint64_t other_heap = process.anonymous - std::min(process.anonymous, known);
  const uint64_t threads = static_cast<uint64_t>(engine.pool->size()) * kThreadBytes;
  fixed.program = (process.program + other_heap + threads + 2 * kProgramStep - 1) / kProgramStep * kProgramStep;
  fixed.peak = process.peak;
  return fixed;
}

// Pages of a table that looking up `rows` rows makes resident: some for each, or all that it has.
uint64_t TouchedBytes(const std::byte* data, int64_t rows, int64_t row_bytes, int64_t looked_up) {
  if (data == nullptr || row_bytes == 0) return 0;
  const uint64_t page = PageBytes(), row = static_cast<uint64_t>(row_bytes);
  const uint64_t pages_of_row = (row - 1) / page + 2;
  return std::min((static_cast<uint64_t>(rows) * row / page + 2) * page,
                  static_cast<uint64_t>(looked_up) * pages_of_row * page);
}

// Of an embedding that is not the head as well. Per-layer embeddings are read without a mapping.
uint64_t RowTableBytes(const gemma::Model& model, int context) {
  if (model.HeadIsEmbedding()) return 0;
  const ops::Matrix& table = model.embedding;
  return TouchedBytes(table.data, table.rows, table.row_bytes, context) +
         TouchedBytes(table.scales.data, table.rows, table.scales.row_bytes, context);
}

class Planner {
 public:
  // Errors: those of loading the vision tower, if pictures are planned for.
  static Result<Planner> Create(const std::shared_ptr<const Engine>& engine, const SessionOptions& wanted) {
    Fixed fixed = MeasureFixed(engine->impl());
    if (wanted.image_tokens > 0) {
      TRY(engine->impl().CheckSees());
      TRY_ASSIGN(fixed.pictures, engine->impl().images->Plan(wanted.image_tokens));
    }
    return Planner(engine, wanted, fixed);
  }

  Result<MemoryPlan> Default() const { return Plan(wanted_); }
  Result<MemoryPlan> Smallest() const;
  Result<MemoryPlan> Fitting(uint64_t ram_bytes) const;

 private:
  Planner(const std::shared_ptr<const Engine>& engine, const SessionOptions& wanted, const Fixed& fixed)
      : engine_(engine), wanted_(wanted), fixed_(fixed) {}

  Result<MemoryPlan> FittingContext(uint64_t ram_bytes) const;
  Result<MemoryPlan> Plan(const SessionOptions& options) const;
  void AddPictures(MemoryPlan& plan) const;
  // With as many tokens as fit, from those of `plan` to `most`. `plan` fits.
  Result<MemoryPlan> Stretch(MemoryPlan plan, int most, uint64_t ram_bytes) const;
  // What costs speed alone: batches, with copies of weights or without, the fastest first.
  struct Speed {
    int batch;
    bool copy_weights, keep_tower;
  };
  std::vector<Speed> Speeds() const;
  // The cache types that may be chosen, the one that keeps most first.
  Result<std::vector<KvCacheType>> Types() const;
  int most_context() const { return engine_->info().max_positions; }
  SessionOptions With(int context, KvCacheType type, const Speed& speed) const {
    SessionOptions options = wanted_;
    options.copy_weights = speed.copy_weights;
    options.keep_tower = speed.keep_tower;
    options.context = context;
    options.kv_type = type;
    options.batch = speed.batch;
    return options;
  }

  const std::shared_ptr<const Engine>& engine_;
  const SessionOptions& wanted_;
  const Fixed fixed_;
};

KvCacheType PublicType(kernels::KvType type) {
  return type == kernels::KvType::kF32   ? KvCacheType::kF32
         : type == kernels::KvType::kF16 ? KvCacheType::kF16
                                         : KvCacheType::kInt8;
}

Result<MemoryPlan> Planner::Plan(const SessionOptions& options) const {
  TRY_ASSIGN(const Session session, Session::Create(engine_, options));
  const Session::Impl& impl = session.impl();
  MemoryPlan plan = {.session = options, .parts = {}};
  plan.session.context = impl.context;
  plan.session.batch = impl.batch;
  plan.session.kv_type = PublicType(impl.decoder->cache().type());
  plan.parts = {{.name = "weights", .bytes = fixed_.weights},
                {.name = "copying", .bytes = options.copy_weights ? fixed_.copying : 0},
                {.name = "row tables", .bytes = RowTableBytes(engine_->impl().model, impl.context)},
                {.name = "keys and values", .bytes = impl.decoder->cache().reserved_bytes()},
                {.name = "activations", .bytes = impl.Scratch().reserved},
                {.name = "tokenizer", .bytes = fixed_.tokenizer},
                {.name = "text", .bytes = kTextBytesPerToken * static_cast<uint64_t>(impl.context)},
                {.name = "program", .bytes = fixed_.program}};
  if (options.image_tokens > 0) AddPictures(plan);
  std::erase_if(plan.parts, [](const MemoryPart& part) { return part.bytes == 0; });
  for (const MemoryPart& part : plan.parts) plan.peak_bytes += part.bytes;
  plan.peak_bytes = std::max(plan.peak_bytes, fixed_.peak);
  return plan;
}

// While a file is decoded the tower's activations of the picture before may still be there. A tower that is not kept
// shares the memory of the decoder's weights, which then are not there as copies.
void Planner::AddPictures(MemoryPlan& plan) const {
  const ImageEncoder::Need& need = fixed_.pictures;
  plan.session.image_pixels =
      plan.session.image_pixels == 0 ? kPlannedPixels : std::min(plan.session.image_pixels, kPlannedPixels);
  const uint64_t working = need.activations + plan.session.image_pixels * kBytesPerPixel;
  const uint64_t kept = need.kept + static_cast<uint64_t>(plan.session.context) * sizeof(float) *
                                        static_cast<uint64_t>(engine_->info().hidden);
  const uint64_t all = need.weights + working;
  const uint64_t swapped = plan.session.keep_tower ? 0 : std::min(all, fixed_.weights);
  plan.parts.push_back({.name = "vision tower", .bytes = need.weights - std::min(need.weights, swapped)});
  plan.parts.push_back({.name = "looking", .bytes = working - (swapped - std::min(need.weights, swapped))});
  plan.parts.push_back({.name = "pictures", .bytes = kept});
}

Result<std::vector<KvCacheType>> Planner::Types() const {
  if (wanted_.kv_type != KvCacheType::kAuto) return std::vector{wanted_.kv_type};
  TRY_ASSIGN(const MemoryPlan usual, Default());
  std::vector<KvCacheType> types = {usual.session.kv_type};
  for (const KvCacheType type : {KvCacheType::kF16, KvCacheType::kInt8})
    if (type > types.front()) types.push_back(type);
  return types;
}

std::vector<Planner::Speed> Planner::Speeds() const {
  std::vector<Speed> speeds = {{wanted_.batch, wanted_.copy_weights, wanted_.keep_tower}};
  const auto slower = [&](int least) {
    for (int batch = speeds.back().batch / 2; batch >= least; batch /= 2) {
      speeds.push_back(speeds.back());
      speeds.back().batch = batch;
    }
  };
  const auto without = [&](bool Speed::* luxury) {
    speeds.push_back(speeds.back());
    speeds.back().*luxury = false;
  };
  slower(kBriskBatch);
  if (wanted_.copy_weights && fixed_.copying > 0) without(&Speed::copy_weights);
  if (wanted_.keep_tower && wanted_.image_tokens > 0) without(&Speed::keep_tower);
  slower(kLeastBatch);
  return speeds;
}

Result<MemoryPlan> Planner::Smallest() const {
  const int context = wanted_.context != 0 ? wanted_.context : std::min(kLeastContext, most_context());
  TRY_ASSIGN(const std::vector<KvCacheType> types, Types());
  return Plan(With(context, types.back(),
                   {.batch = std::min(wanted_.batch, kLeastBatch), .copy_weights = false, .keep_tower = false}));
}

// What is left of the memory goes to pictures with more pixels.
Result<MemoryPlan> Planner::Fitting(uint64_t ram_bytes) const {
  TRY_ASSIGN(MemoryPlan plan, FittingContext(ram_bytes));
  const auto looking = std::ranges::find(plan.parts, "looking", &MemoryPart::name);
  if (looking == plan.parts.end() || wanted_.image_pixels != 0) return plan;
  const uint64_t more = std::min((ram_bytes - plan.peak_bytes) / kBytesPerPixel, kMostPixels - kPlannedPixels);
  plan.session.image_pixels += more;
  looking->bytes += more * kBytesPerPixel;
  plan.peak_bytes += more * kBytesPerPixel;
  return plan;
}

Result<MemoryPlan> Planner::FittingContext(uint64_t ram_bytes) const {
  TRY_ASSIGN(const std::vector<KvCacheType> types, Types());
  TRY_ASSIGN(const MemoryPlan usual, Default());
  for (const KvCacheType type : types) {
    for (const Speed& speed : Speeds()) {
      TRY_ASSIGN(MemoryPlan plan, Plan(With(usual.session.context, type, speed)));
      if (plan.peak_bytes > ram_bytes) continue;
      return wanted_.context != 0 ? plan : Stretch(std::move(plan), most_context(), ram_bytes);
    }
  }
  TRY_ASSIGN(MemoryPlan smallest, Smallest());
  if (smallest.peak_bytes <= ram_bytes) return Stretch(std::move(smallest), usual.session.context, ram_bytes);
  std::string parts;
  for (const MemoryPart& part : smallest.parts)
    parts += (parts.empty() ? "" : ", ") + std::string(part.name) + " " + MegabyteText(part.bytes);
  return Fail(ErrorCode::kDoesNotFit, "a context of " + std::to_string(smallest.session.context) +
                                          " tokens does not fit into " + MegabyteText(ram_bytes) + ": it takes " +
                                          MegabyteText(smallest.peak_bytes) + " at least (" + parts + "); --ram " +
                                          std::to_string(smallest.peak_bytes / 1'000'000 + 1) + "MB would work");
}

Result<MemoryPlan> Planner::Stretch(MemoryPlan plan, int most, uint64_t ram_bytes) const {
  const auto with = [&](int context) {
    const SessionOptions& chosen = plan.session;
    return Plan(With(context, chosen.kv_type, {chosen.batch, chosen.copy_weights, chosen.keep_tower}));
  };
  TRY_ASSIGN(MemoryPlan longest, with(most));
  if (longest.peak_bytes <= ram_bytes) return longest;
  for (int low = plan.session.context / kContextStep, high = (most + kContextStep - 1) / kContextStep;
       high - low > 1;) {
    const int middle = (low + high) / 2;
    TRY_ASSIGN(MemoryPlan candidate, with(middle * kContextStep));
    if (candidate.peak_bytes <= ram_bytes) {
      plan = std::move(candidate);
      low = middle;
    } else {
      high = middle;
    }
  }
  return plan;
}

}  // namespace

Result<MemoryPlan> PlanMemory(const std::shared_ptr<const Engine>& engine, const SessionOptions& wanted,
                              std::optional<uint64_t> ram_bytes) {
  TRY_ASSIGN(const Planner planner, Planner::Create(engine, wanted));
  return ram_bytes ? planner.Fitting(*ram_bytes) : planner.Default();
}

Result<MemoryPlan> SmallestMemoryPlan(const std::shared_ptr<const Engine>& engine, const SessionOptions& wanted) {
  TRY_ASSIGN(const Planner planner, Planner::Create(engine, wanted));
  return planner.Smallest();
}

}  // namespace carat
