// carat_mutants: damages valid model files in thousands of ways and loads each. A mutant must be refused with one line
// that names the file, or load and run; it must not crash, hang, or eat memory. (Run it in a sanitizer build.)
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "carat/engine.h"
#include "carat/session.h"
#include "formats/checkpoint.h"
#include "gemma/vision_encoder.h"
#include "kernels/kernels.h"

namespace fs = std::filesystem;

namespace carat {
namespace {

using Random = std::mt19937_64;

size_t Below(Random& random, size_t bound) { return bound == 0 ? 0 : static_cast<size_t>(random() % bound); }

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteFile(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Numbers that break arithmetic: zero, one, the ends of types and their neighbours, and something in between.
uint64_t ExtremeNumber(Random& random) {
  static constexpr uint64_t kNumbers[] = {0,          1,          2,          3,          31,         33,
                                          255,        256,        0x7fff,     0xffff,     0x10000,    0x7fffffff,
                                          0x80000000, 0xffffffff, 1ull << 32, 1ull << 40, 1ull << 62, INT64_MAX,
                                          1ull << 63, ~0ull,      ~0ull - 31};
  return Below(random, 4) == 0 ? random() >> Below(random, 64) : kNumbers[Below(random, std::size(kNumbers))];
}

// The part of a file that describes the rest, where damage is most interesting.
size_t HeaderSize(const fs::path& path, const std::string& bytes) {
  if (path.extension() == ".safetensors" && bytes.size() > 8) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    return std::min<size_t>(bytes.size(), 8 + length);
  }
  return path.extension() == ".gguf" ? std::min<size_t>(bytes.size(), 24 * 1024) : bytes.size();
}

// One piece of damage to binary data. A position is in the header nine times of ten.
void DamageBytes(std::string& bytes, size_t header, Random& random) {
  if (bytes.empty()) return;
  const size_t position = Below(random, Below(random, 10) == 0 ? bytes.size() : std::min(header, bytes.size()));
  const size_t length = 1 + Below(random, 64);
  switch (Below(random, 7)) {
    case 0:
      bytes[position] = static_cast<char>(random());
      break;
    case 1:
      bytes[position] = static_cast<char>(bytes[position] ^ (1 << Below(random, 8)));
      break;
    case 2:
      bytes.resize(position);
      break;
    case 3:
      bytes.erase(position, length);
      break;
    case 4:
      bytes.insert(position, bytes.substr(Below(random, bytes.size()), length));
      break;
    default: {
      const uint64_t number = ExtremeNumber(random);
      const size_t width = Below(random, 2) == 0 ? 4 : 8;
      if (position + width <= bytes.size()) std::memcpy(bytes.data() + position, &number, width);
    }
  }
}

// One piece of damage to JSON: a number, string or bracket is exchanged, or a member is cut out or doubled.
void DamageJson(std::string& text, Random& random) {
  static constexpr const char* kValues[] = {"null",       "-1",   "0",           "1e999",      "99999999999999999999",
                                            "4294967296", "[]",   "{}",          "\"\"",       "true",
                                            "0.5",        "[[[[", "\"\\ud800\"", "2147483648", "[1,2]"};
  std::vector<std::pair<size_t, size_t>> values;  // begin and end of what stands behind a colon or in a list
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ':' && text[i] != '[' && text[i] != ',') continue;
    const size_t begin = text.find_first_not_of(" \n\t", i + 1);
    if (begin == std::string::npos) break;
    size_t end = text[begin] == '"' ? text.find('"', begin + 1) : text.find_first_of(",]}\n", begin);
    if (end == std::string::npos) break;
    end += text[begin] == '"' ? 1 : 0;
    if (end > begin) values.emplace_back(begin, end - begin);
  }
  if (values.empty()) return DamageBytes(text, text.size(), random);
  const auto [begin, length] = values[Below(random, values.size())];
  switch (Below(random, 4)) {
    case 0:
      text.erase(begin, length);
      break;
    case 1:
      text.insert(begin, text.substr(begin, length) + ",");
      break;
    case 2:
      text.replace(begin, length, std::to_string(ExtremeNumber(random)));
      break;
    default:
      text.replace(begin, length, kValues[Below(random, std::size(kValues))]);
  }
}

struct Model {
  fs::path path;                   // what is opened: a file of `files`, or their folder
  std::vector<fs::path> files;     // that may be damaged
  std::vector<std::string> bytes;  // of each
  bool tower = false;              // has a vision tower, which is tried as well
};

Model ReadModel(const fs::path& path) {
  Model model{.path = path, .files = {}, .bytes = {}};
  const bool folder = fs::is_directory(path);
  for (const auto& entry : fs::directory_iterator(folder ? path : path.parent_path())) {
    const std::string extension = entry.path().extension().string();
    if (folder ? entry.is_regular_file() : extension == ".gguf") model.files.push_back(entry.path());
  }
  std::ranges::sort(model.files);
  for (const fs::path& file : model.files) model.bytes.push_back(ReadFile(file));
  const auto checkpoint = formats::Checkpoint::Open(path);
  model.tower = checkpoint && gemma::VisionModel::IsIn(*checkpoint);
  return model;
}

// What is wrong with an error, or "".
std::string Judge(const Error& error, const fs::path& folder, std::map<std::string, int>& outcomes) {
  ++outcomes["refused"];
  if (error.message.find('\n') != std::string::npos) return "the message has more than one line: " + error.message;
  if (error.message.find(folder.string()) == std::string::npos) return "the message names no file: " + error.message;
  if (error.code != ErrorCode::kBadModel && error.code != ErrorCode::kNotFound && error.code != ErrorCode::kUsage)
    return "an odd code " + std::to_string(static_cast<int>(error.code)) + ": " + error.message;
  return "";
}

// Loads the vision tower that is there and, if it loads, looks at the smallest picture. Returns a complaint, or "".
std::string TryTower(const fs::path& path, const fs::path& folder, std::map<std::string, int>& outcomes) {
  const auto checkpoint = formats::Checkpoint::Open(path);
  if (!checkpoint) return Judge(checkpoint.error(), folder, outcomes);
  const auto model = gemma::VisionModel::Load(*checkpoint);
  if (!model) return Judge(model.error(), folder, outcomes);
  ++outcomes["loaded"];
  const int64_t side = model->config.pooling;
  ThreadPool pool(1);
  gemma::VisionEncoder encoder(*model, {.kernels = kernels::SelectKernels(), .pool = &pool}, side * side);
  const auto values = static_cast<size_t>(side * side * model->config.patch_values());
  std::vector<float> soft(static_cast<size_t>(model->config.text_hidden));
  const Status status =
      encoder.Encode({.columns = side, .rows = side, .values = std::vector<float>(values, 0.5f)}, soft);
  return status || !status.error().message.empty() ? "" : "an error without a message";
}

// Loads what is there and, if it loads, computes a little with it. Returns a complaint, or "".
std::string Try(const fs::path& path, const fs::path& folder, std::map<std::string, int>& outcomes) {
  const auto engine = Engine::Load(path, {.threads = 1, .cpu = {}, .progress = {}});
  if (!engine) return Judge(engine.error(), folder, outcomes);
  ++outcomes["loaded"];
  SessionOptions options;
  options.context = std::min(32, (*engine)->info().max_positions);
  auto session = Session::Create(*engine, options);
  if (!session) return session.error().message.empty() ? "an error without a message" : "";
  const TokenId ids[] = {2 % (*engine)->info().vocabulary, 0};
  if (!session->Append(std::span(ids).first(std::min<size_t>(2, static_cast<size_t>(options.context))))) return "";
  (void)session->Logits();
  (void)(*engine)->Tokenize("Two words.\n", true);
  return "";
}

int Run(const std::vector<fs::path>& paths, uint64_t count, double seconds, uint64_t seed) {
  std::vector<Model> models;
  models.reserve(paths.size());
  for (const fs::path& path : paths) models.push_back(ReadModel(path));
  const fs::path work = fs::temp_directory_path() / ("carat-mutants-" + std::to_string(::getpid()));
  std::map<std::string, int> outcomes;
  const auto start = std::chrono::steady_clock::now();
  uint64_t done = 0, faults = 0;
  for (; done < count; ++done) {
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds) break;
    Random random(seed + done);  // so that a mutant can be made again by its number
    const Model& model = models[Below(random, models.size())];
    const size_t victim = Below(random, model.files.size());
    std::string bytes = model.bytes[victim];
    const bool json = model.files[victim].extension() == ".json";
    const size_t header = HeaderSize(model.files[victim], bytes);
    for (size_t damage = 1 + Below(random, 3); damage > 0; --damage)
      json&& Below(random, 3) != 0 ? DamageJson(bytes, random) : DamageBytes(bytes, header, random);

    fs::create_directories(work);
    for (size_t i = 0; i < model.files.size(); ++i)
      WriteFile(work / model.files[i].filename(), i == victim ? bytes : model.bytes[i]);
    const bool folder = std::ranges::find(model.files, model.path) == model.files.end();
    const fs::path path = folder ? work : work / model.path.filename();
    std::string complaint = Try(path, work, outcomes);
    if (complaint.empty() && model.tower) complaint = TryTower(path, work, outcomes);
    if (!complaint.empty()) {
      ++faults;
      std::printf("mutant %s (%s): %s\n", std::to_string(seed + done).c_str(), model.files[victim].c_str(),
                  complaint.c_str());
    }
    fs::remove_all(work);
  }
  std::printf("%s mutants of %zu models: %d refused, %d loaded\n", std::to_string(done).c_str(), models.size(),
              outcomes["refused"], outcomes["loaded"]);
  std::printf("%s passed, %s failed\n", std::to_string(done - faults).c_str(), std::to_string(faults).c_str());
  return faults == 0 && done > 0 ? 0 : 1;
}

// The small models that the tests carry.
std::vector<fs::path> OwnModels() {
  std::vector<fs::path> paths;
  for (const char* data : {"/tests/data/golden", "/tests/data/vision"})
    for (const auto& entry : fs::directory_iterator(std::string(CARAT_SOURCE_DIR) + data))
      for (const char* name : {"model", "model.gguf", "model-00001-of-00003.gguf", "mmproj.gguf"})
        if (fs::exists(entry.path() / name)) paths.push_back(entry.path() / name);
  std::ranges::sort(paths);
  return paths;
}

int Main(int argc, char** argv) {
  CLI::App app("Damages valid model files and loads them: each mutant must be refused in one line, or run.");
  uint64_t count = 10000, seed = 1;
  double seconds = 1e9;
  std::vector<fs::path> paths;
  app.add_option("--count", count, "mutants to make");
  app.add_option("--seconds", seconds, "most time to take");
  app.add_option("--seed", seed, "number of the first mutant");
  app.add_option("MODEL", paths, "GGUF files or Hugging Face folders; none: those of the tests");
  CLI11_PARSE(app, argc, argv);
  return Run(paths.empty() ? OwnModels() : paths, count, seconds, seed);
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) {
  try {
    return carat::Main(argc, argv);
  } catch (const std::exception& error) {  // of the file system
    std::fprintf(stderr, "carat_mutants: %s\n", error.what());
    return 1;
  }
}
