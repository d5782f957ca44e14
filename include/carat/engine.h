// Engine: a loaded model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/media.h"
#include "carat/result.h"

namespace carat {

using TokenId = int32_t;

// Settings of the choice of a token. Greedy (the most likely token, the lowest id among equals) if temperature is 0.
// Order: penalties, then top-k, top-p and min-p on the distribution at `temperature`.
struct SamplingOptions {
  float temperature = 1.0f;
  int top_k = 64;                        // 0: off
  float top_p = 0.95f;                   // 1: off
  float min_p = 0.0f;                    // 0: off; keeps tokens of at least min_p times the likeliest's probability
  float repetition_penalty = 1.0f;       // divides positive logits (multiplies negative ones) of tokens in the window
  float frequency_penalty = 0.0f;        // subtracted per occurrence in the window
  float presence_penalty = 0.0f;         // subtracted once if the token occurs in the window
  int penalty_window = 256;              // tokens looked back at; -1: all
  uint64_t seed = 0;                     // 0: one is drawn and reported by Session::seed()
  std::vector<TokenId> suppressed = {};  // ids that are never chosen
};

// What long work reports, from the calling thread.
struct Progress {
  std::string_view stage;  // "load", "encode" (of a picture, in layers; of a video, in frames), "prefill"
  uint64_t done = 0;
  uint64_t total = 0;
};
// Return false to cancel: the work stops with kInterrupted.
using ProgressCallback = std::function<bool(const Progress&)>;

struct EngineOptions {
  int threads = 0;       // counting the caller's; 0: one per processor that this process may use
  std::string cpu = {};  // name of the kernels to use (`carat doctor` lists them); empty: the fastest this CPU runs
  bool exact =
      false;  // float32 activations and cache against dequantised weights: what the file means, for verification
  // Reads weights only where the file is mapped. Otherwise, on CPUs with AVX-512 and unless `exact`, the first tokens
  // that are decoded copy those that can be read faster in another order and in larger pages; the copies take the place
  // of the file's pages in memory.
  bool in_place = false;
  // The file with the vision tower of a .gguf model, as llama.cpp's converter writes it. Empty: the one beside the
  // model whose name contains "mmproj", if there is one. Hugging Face folders bring their own tower, and need no file.
  std::filesystem::path mmproj = {};
  ProgressCallback progress = {};
};

struct ModelInfo {
  std::string architecture;  // "gemma4", "gemma3"
  std::string name;          // as the checkpoint calls itself, or its file name
  std::filesystem::path path;
  int layers = 0;
  int hidden = 0;
  int vocabulary = 0;
  int max_positions = 0;  // the longest context the model was made for, tokens
  bool has_tokenizer = false;
  bool has_chat_format = false;  // its tokenizer has turn markers
  // Whether a chat template comes with it. Carat needs none, but a checkpoint without one is most likely pre-trained:
  // it continues texts, and was never taught to chat.
  bool has_chat_template = false;
  // Whether it sees pictures and videos: a vision tower came with it, which is loaded when it is first needed.
  bool sees = false;
  MediaOptions media;        // how much it sees of them if nobody says so
  SamplingOptions sampling;  // from the checkpoint, or the family's defaults
  std::vector<TokenId> stop_ids;
  uint64_t weight_bytes = 0;  // mapped (or copied), and read for every token; tables that are read by rows not counted
  uint64_t token_bytes = 0;   // of weights, the rows of tables included, that a decoded token reads
  uint64_t ple_bytes = 0;     // the per-layer embedding table, which stays on disk
};

struct EngineStats {
  double load_seconds = 0;
  // Mapped pages of the files, and copies; without the table of per-layer embeddings.
  uint64_t weight_bytes_resident = 0;
  uint64_t ple_bytes_resident = 0;  // of that table: it is read, not looked at, so only what shares pages with others
  uint64_t ple_bytes_read = 0;      // from the file, since the engine was loaded
};

// The copies of weights that decoding makes (EngineOptions::in_place).
struct EngineCopies {
  uint64_t bytes = 0;         // of all, once they are made; 0: there will be none
  uint64_t copied_bytes = 0;  // of those, so far
};

// Immutable after Load; shared between threads and sessions. Computations of different sessions take turns on the
// engine's thread pool.
class Engine {
 public:
  // `model`: a .gguf file (of a split set: the first) or a Hugging Face folder. Errors: kNotFound, kBadModel, kUsage.
  static Result<std::shared_ptr<const Engine>> Load(const std::filesystem::path& model,
                                                    const EngineOptions& options = {});
  ~Engine();

  const ModelInfo& info() const;
  EngineStats stats() const;     // counts pages: some milliseconds
  EngineCopies copies() const;   // at once
  std::string_view cpu() const;  // name of the kernels in use
  int threads() const;

  // Text to ids. `control`: whether control strings such as "<|turn>" become their tokens; false for text that a user
  // wrote. Adds no BOS. Invalid UTF-8 is read as U+FFFD. Error: kUsage if the checkpoint has no tokenizer.
  Result<std::vector<TokenId>> Tokenize(std::string_view text, bool control = false) const;
  // Ids to text; control tokens as their strings if `control`, else left out. Error: kUsage on ids outside the
  // vocabulary.
  Result<std::string> Detokenize(std::span<const TokenId> ids, bool control = false) const;
  // The id that every prompt starts with; -1 if the checkpoint names none.
  TokenId bos_id() const;
  bool IsStop(TokenId id) const;

  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace carat
