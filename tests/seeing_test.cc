// Prompts with pictures and videos against the reference dumps: from the files to the logits.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "carat/conversation.h"
#include "engine/trace.h"
#include "engine/trace_file.h"
#include "tests/support/golden.h"

namespace carat {
namespace {

using testing_support::FindTensor;

// A conversation N.json of a folder that has a model, its pictures, and what N.safetensors says of it.
struct SeeingCase {
  std::filesystem::path folder;
  std::string number;
  std::string model = "model";  // or the same weights in another form
  std::filesystem::path File(const std::string& suffix) const { return folder / (number + suffix); }
};

// model-CASE/N.json with messages.
std::vector<SeeingCase> CasesOf(const std::filesystem::path& vision) {
  std::vector<SeeingCase> cases;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(vision, error)) {
    if (!entry.path().filename().string().starts_with("model-") || entry.path().filename() == "model-blocks") continue;
    for (int n = 0; std::filesystem::exists(entry.path() / (std::to_string(n) + ".json")); ++n)
      for (const char* model : {"model", "gguf/model.gguf"})
        if (std::filesystem::exists(entry.path() / model))
          cases.push_back({.folder = entry.path(), .number = std::to_string(n), .model = model});
  }
  return cases;
}

class SeeingTest : public testing::Test {
 protected:
  void SetUp() override {
    scratch_ = std::filesystem::path(testing::TempDir()) / ("carat_seeing_" + std::to_string(::getpid()));
    std::filesystem::create_directories(scratch_);
  }
  void TearDown() override { std::filesystem::remove_all(scratch_); }

  // A lossless video of `total` frames in which the reference's samples stand at their indices. What is between must
  // not be looked at: it is the negative.
  std::filesystem::path MakeVideo(const TraceTensor& frames, const Json& video) {
    const std::filesystem::path raw = scratch_ / "frames.raw", path = scratch_ / "video.avi";
    const std::vector<int64_t> indices = video["indices"].get<std::vector<int64_t>>();
    const auto frame_bytes = static_cast<size_t>(frames.shape[1] * frames.shape[2] * 3);
    std::ofstream out(raw, std::ios::binary);
    size_t next = 0;
    for (int64_t index = 0; index < video["total_frames"].get<int64_t>(); ++index) {
      const bool sampled = next + 1 < indices.size() && indices[next + 1] == index;
      if (sampled) ++next;
      const bool shown = indices[next] == index;
      for (size_t i = 0; i < frame_bytes; ++i) {
        const auto byte = static_cast<uint8_t>(frames.values[next * frame_bytes + i]);
        out.put(static_cast<char>(shown ? byte : 255 - byte));
      }
    }
    out.close();
    const double fps = video["fps"].get<double>();
    const std::string rate = fps == 30000.0 / 1001 ? "30000/1001" : std::to_string(fps);
    const std::string size = std::to_string(frames.shape[2]) + "x" + std::to_string(frames.shape[1]);
    const std::string command = "ffmpeg -v error -y -nostdin -f rawvideo -pix_fmt rgb24 -s " + size + " -r " + rate +
                                " -i '" + raw.string() + "' -c:v ffv1 -pix_fmt bgr0 '" + path.string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << "ffmpeg, which these tests need: " << command;
    return path;
  }

  // The messages of the case, their media by their files.
  Json MessagesOf(const SeeingCase& it, const Json& json, const TraceReference& reference) {
    Json messages = json["messages"];
    size_t picture = 0;
    for (Json& message : messages) {
      for (Json& part : message["content"]) {
        if (part["type"] == "image") part["path"] = (it.folder / json["pictures"][picture++]).string();
        if (part["type"] == "video")
          part["path"] = MakeVideo(*FindTensor(reference.tensors, "video.frames"), json["video"]).string();
      }
    }
    return messages;
  }

  void Check(const SeeingCase& it) {
    const auto file = MappedFile::Open(it.File(".json"));
    ASSERT_TRUE(file);
    const auto json = ParseJson(file->text(), it.File(".json").string());
    ASSERT_TRUE(json) << json.error().message;
    const auto reference = ReadTraceReference(it.File(".safetensors"));
    ASSERT_TRUE(reference) << reference.error().message;
    const auto engine = Engine::Load(it.folder / it.model, {.exact = true});
    ASSERT_TRUE(engine) << engine.error().message;

    MediaOptions options;
    // A folder says so itself.
    if (it.model != "model") options.image_tokens = options.frame_tokens = (*json)["budget"].get<int>();
    if (json->contains("video")) options.video_frames = static_cast<int>((*json)["video"]["indices"].size());
    const auto input = TraceInputOf(**engine, MessagesOf(it, *json, *reference), options);
    ASSERT_TRUE(input) << input.error().message;
    ASSERT_EQ(input->ids, FindTensor(reference->tensors, "input_ids")->ids);
    const int generate = static_cast<int>(FindTensor(reference->tensors, "greedy_ids")->ids.size());
    auto trace = Trace(*engine, *input, {.generate = generate});
    ASSERT_TRUE(trace) << trace.error().message;
    KeepLastRows(*trace, *reference);
    CheckPixels(*input, *reference);
    constexpr std::string_view kInputs[] = {"input_ids",   "mm_token_type_ids", "video.frames",
                                            "pixel_bytes", "pixel_values",      "position_ids"};
    for (const TraceTensor& want : reference->tensors) {
      if (std::ranges::find(kInputs, want.name) != std::end(kInputs)) continue;
      EXPECT_NE(FindTensor(*trace, want.name), nullptr) << want.name << " was not computed";
    }
    for (const TraceDifference& difference : CompareTrace(*trace, *reference)) {
      ASSERT_TRUE(difference.within) << difference.name << " is the first that differs: by " << difference.largest
                                     << ", tolerance " << difference.tolerance << ", " << difference.where;
    }
    if (input->ids.size() < 500) CheckBits(it, *input);
  }

  // The patches of pictures, bit for bit, where the dump has them.
  static void CheckPixels(const TraceInput& input, const TraceReference& reference) {
    const TraceTensor* bytes = FindTensor(reference.tensors, "pixel_bytes");
    if (bytes == nullptr) return;
    size_t next = 0;
    for (const gemma::PatchGrid& picture : input.pictures) {
      for (const float value : picture.values) {
        ASSERT_LT(next, bytes->values.size());
        ASSERT_EQ(value, bytes->values[next++] * (1.0f / 255.0f));
      }
    }
    EXPECT_EQ(next, bytes->values.size());
  }

  // A cut anywhere, inside a picture too, and the number of threads change no bit.
  static void CheckBits(const SeeingCase& it, const TraceInput& input) {
    std::vector<float> soft_tokens, logits;
    for (const auto& [threads, chunk] : {std::pair{1, 0}, {1, 1}, {2, 7}, {3, 50}}) {
      const auto engine = Engine::Load(it.folder / it.model, {.threads = threads});
      ASSERT_TRUE(engine);
      const auto trace = Trace(*engine, input, {.chunk = chunk});
      ASSERT_TRUE(trace) << trace.error().message;
      if (soft_tokens.empty()) soft_tokens = FindTensor(*trace, "vision.soft_tokens")->values;
      if (logits.empty()) logits = FindTensor(*trace, "logits")->values;
      EXPECT_EQ(FindTensor(*trace, "vision.soft_tokens")->values, soft_tokens) << threads;
      EXPECT_EQ(FindTensor(*trace, "logits")->values, logits) << threads << " threads, chunks of " << chunk;
    }
  }

  // Dumps of long prompts have the last rows only.
  static void KeepLastRows(std::vector<TraceTensor>& trace, const TraceReference& reference) {
    for (TraceTensor& tensor : trace) {
      const TraceTensor* want = FindTensor(reference.tensors, tensor.name);
      if (want == nullptr || tensor.values.empty() || want->shape[0] >= tensor.shape[0]) continue;
      tensor.values.erase(tensor.values.begin(), tensor.values.end() - static_cast<int64_t>(want->values.size()));
      tensor.shape = want->shape;
    }
  }

  std::filesystem::path scratch_;
};

TEST_F(SeeingTest, OwnDumps) {
  const std::vector<SeeingCase> cases = CasesOf(testing_support::OwnGolden().parent_path() / "vision");
  EXPECT_GE(cases.size(), 13u);
  for (const SeeingCase& it : cases) {
    SCOPED_TRACE(it.File(".json").string() + " with " + it.model);
    Check(it);
  }
}

// Tower and decoder take turns in the memory: what was let go of comes back from the files.
TEST_F(SeeingTest, ATowerThatIsNotKeptSeesTheSame) {
  const std::filesystem::path folder = testing_support::OwnGolden().parent_path() / "vision/model-causal";
  const auto ask = [&](const std::string& model, bool keep_tower) {
    std::vector<std::vector<TokenId>> answers;
    const auto engine = Engine::Load(folder / model, {.threads = 2});
    if (!engine) return ADD_FAILURE() << engine.error().message, answers;
    auto session = Session::Create(*engine, {.keep_tower = keep_tower, .sampling = {.temperature = 0}});
    auto conversation = Conversation::Create(std::move(*session), {.max_tokens = 6});
    if (!conversation) return ADD_FAILURE() << conversation.error().message, answers;
    for (const char* picture : {"0-0.png", "1-1.png", "0-0.png"}) {
      EXPECT_TRUE(conversation->AddUser("What is shown here?", {{{.path = folder / picture}}}));
      const auto reply = conversation->Generate();
      EXPECT_TRUE(reply) << reply.error().message;
      const auto tokens = conversation->session().tokens();
      answers.emplace_back(tokens.begin(), tokens.end());
    }
    return answers;
  };
  for (const char* model : {"model", "gguf/model.gguf"}) {
    const auto kept = ask(model, true);
    EXPECT_EQ(kept.size(), 3u);
    EXPECT_EQ(ask(model, false), kept) << model;
  }
}

// More dumps, where there are some beside the source tree.
TEST_F(SeeingTest, MoreDumps) {
  const std::filesystem::path shared = std::filesystem::path(CARAT_SOURCE_DIR).parent_path() / "shared/golden/vision";
  if (!std::filesystem::is_directory(shared)) GTEST_SKIP() << "no shared data";
  const std::vector<SeeingCase> cases = CasesOf(shared);
  EXPECT_GE(cases.size(), 5u);
  for (const SeeingCase& it : cases) {
    SCOPED_TRACE(it.File(".json").string() + " with " + it.model);
    Check(it);
  }
}

}  // namespace
}  // namespace carat
