#include "gemma/load_schedule.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/try.h"
#include "gemma/module_pattern.h"

namespace carat::gemma {

namespace {

using formats::Checkpoint;

Status CheckBits(const JsonObject& object) {
  TRY_ASSIGN(const int64_t bits, object.IntegerOr("num_bits", 4, INT64_MIN, INT64_MAX));
  if (bits == 2 || bits == 4 || bits == 8) return {};
  return Fail(ErrorCode::kBadModel,
              object.where + ": num_bits is " + std::to_string(bits) + "; codes of 2, 4 and 8 bits are read");
}

// The modules of the published towers that a rule can be about.
std::set<std::string> VisionModules() {
  std::set<std::string> names = {"model.vision_tower.patch_embedder.input_proj",
                                 "model.embed_vision.embedding_projection"};
  for (int i = 0; i < 16; ++i)
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
      names.insert("model.vision_tower.encoder.layers." + std::to_string(i) + "." + part + ".linear");
  return names;
}

std::set<std::string> AudioModules() {
  const std::string front = "model.audio_tower.subsample_conv_projection.";
  std::set<std::string> names = {front + "layer0.conv", front + "layer1.conv", front + "input_proj_linear",
                                 "model.audio_tower.output_proj", "model.embed_audio.embedding_projection"};
  for (int i = 0; i < 12; ++i) {
    const std::string layer = "model.audio_tower.layers." + std::to_string(i) + ".";
    names.insert(layer + "self_attn.relative_k_proj");
    for (const char* part : {"feed_forward1.ffw_layer_1", "feed_forward1.ffw_layer_2", "feed_forward2.ffw_layer_1",
                             "feed_forward2.ffw_layer_2", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                             "self_attn.post", "lconv1d.linear_start", "lconv1d.linear_end"})
      names.insert(layer + part + ".linear");
  }
  return names;
}

// A published checkpoint has some thousands, of names of a hundred characters.
constexpr size_t kMaxModules = 100'000;

// What a message shows of a stranger's words.
std::string Quoted(const std::string& text) {
  constexpr size_t kShown = 100;
  return "'" + text.substr(0, kShown) + (text.size() > kShown ? "...'" : "'");
}

// What rules may be about: the modules that have tensors, and those around them; the head, tied or not; and the modules
// of a tower that is not there, as rules for the towers stay in the file when a model is cut down to its text.
// Error: kBadModel, if they are too many.
Result<std::set<std::string>> Modules(const Checkpoint& checkpoint) {
  std::set<std::string> names = {"lm_head"};
  bool vision = false, audio = false;
  for (const formats::Tensor& tensor : checkpoint.tensors()) {
    vision = vision || tensor.name.starts_with("model.vision_tower.");
    audio = audio || tensor.name.starts_with("model.audio_tower.");
    if (tensor.name.size() > ModulePattern::kMaxName) continue;  // no pattern matches
    if (names.size() > kMaxModules)
      return Fail(ErrorCode::kBadModel, checkpoint.path().string() + ": the names of the tensors speak of more than " +
                                            std::to_string(kMaxModules) + " modules");
    for (std::string_view name = tensor.name; name.find('.') != std::string_view::npos;) {
      name = name.substr(0, name.rfind('.'));
      if (!names.emplace(name).second) break;  // then those around it are there, too
    }
  }
  if (!vision) names.merge(VisionModules());
  if (!audio) names.merge(AudioModules());
  return names;
}

class Schedule {
 public:
  Schedule(const JsonObject& config, std::set<std::string> modules) : config_(config), modules_(std::move(modules)) {}

  Status Check() {
    TRY(CheckBits(config_));
    TRY(config_.BoolOr("quantize_embeddings", false));
    if (config_.Has("modules_to_not_convert")) {
      TRY_ASSIGN(const std::vector<std::string> kept, config_.Strings("modules_to_not_convert"));
      for (const std::string& pattern : kept) TRY(CheckKept(pattern));
    }
    if (!config_.Has("module_quant_configs")) return {};
    TRY_ASSIGN(const JsonObject rules, config_.Object("module_quant_configs"));
    for (const auto& [pattern, value] : rules.json->items()) {
      const std::string where = rules.where + ": " + Quoted(pattern);
      if (!value.is_object()) return Fail(ErrorCode::kBadModel, where + " is not an object");
      TRY(CheckBits({&value, where}));
      TRY(CheckRule(where, pattern));
    }
    return {};
  }

 private:
  // A regular expression that is searched for in the name.
  Status CheckRule(const std::string& where, const std::string& pattern) {
    return CheckPattern(where, pattern, &ModulePattern::Finds);
  }
  // The end of a name, or a regular expression for its start.
  Status CheckKept(const std::string& pattern) {
    work_ += static_cast<int64_t>(modules_.size());
    if (std::ranges::any_of(modules_, [&](const std::string& name) { return name.ends_with(pattern); })) return {};
    return CheckPattern(config_.where + ": modules_to_not_convert: " + Quoted(pattern), pattern,
                        &ModulePattern::Begins);
  }

  Status CheckPattern(const std::string& where, const std::string& pattern,
                      bool (ModulePattern::*matches)(std::string_view, int64_t&) const) {
    const auto parsed = ModulePattern::Parse(pattern);
    if (!parsed) return Fail(ErrorCode::kBadModel, where + " " + parsed.error().message);
    const bool found =
        std::ranges::any_of(modules_, [&](const std::string& name) { return ((*parsed).*matches)(name, work_); });
    if (work_ > ModulePattern::kMaxWork) return Fail(ErrorCode::kBadModel, where + " takes too long to look for");
    if (!found) return Fail(ErrorCode::kBadModel, where + " is about no module of the checkpoint");
    return {};
  }

  const JsonObject& config_;
  const std::set<std::string> modules_;
  int64_t work_ = 0;  // of all patterns together
};

}  // namespace

Status CheckSchedule(const JsonObject& config, const Checkpoint& checkpoint) {
  TRY_ASSIGN(std::set<std::string> modules, Modules(checkpoint));
  return Schedule(config, std::move(modules)).Check();
}

int ScheduledBits(const JsonObject& config, std::string_view module) {
  const auto bits_of = [](const JsonObject& object) {
    return static_cast<int>(object.IntegerOr("num_bits", 4, 2, 8).value_or(4));
  };
  int bits = bits_of(config);
  const auto rules = config.Object("module_quant_configs");
  if (!rules) return bits;
  size_t first = std::string_view::npos;
  for (const auto& [pattern, value] : rules->json->items()) {
    int64_t work = 0;
    const auto parsed = ModulePattern::Parse(pattern);
    const size_t place = parsed ? parsed->PlaceIn(module, work) : std::string_view::npos;
    if (place >= first) continue;
    first = place;
    bits = bits_of({&value, pattern});
  }
  return bits;
}

}  // namespace carat::gemma
