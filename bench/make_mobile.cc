// Makes a checkpoint in the layout of Google's low-bit releases, with random weights.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "bench/mobile_folder.h"

namespace {

constexpr const char* kUsage =
    "usage: make_mobile FOLDER [--e2b | --e4b | --tiny] [--seed N] [--tokenizer FILE]\n"
    "  --e2b, --e4b      as published: 2.6 and 3.6 GB on disk (the default: --e2b)\n"
    "  --tiny            0.2 MB, for tests\n"
    "  --seed N          of the random numbers (1)\n"
    "  --tokenizer FILE  a tokenizer.json to copy beside the weights, so that the folder takes text\n";

int Run(int argc, char** argv) {
  std::string folder, shape_name = "e2b", tokenizer;
  uint64_t seed = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool has_value = i + 1 < argc;
    if (word == "--e2b" || word == "--e4b" || word == "--tiny") {
      shape_name = word.substr(2);
    } else if (word == "--seed" && has_value) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (word == "--tokenizer" && has_value) {
      tokenizer = argv[++i];
    } else if (folder.empty() && !word.starts_with('-')) {
      folder = word;
    } else {
      return std::fputs(kUsage, stderr), 2;
    }
  }
  if (folder.empty()) return std::fputs(kUsage, stderr), 2;
  const auto shape = carat::bench::MobileShapeOf(shape_name);
  if (!shape) return std::fprintf(stderr, "%s\n", shape.error().message.c_str()), 2;
  const auto status = carat::bench::WriteMobileFolder(folder, *shape, seed, tokenizer);
  if (!status) return std::fprintf(stderr, "%s\n", status.error().message.c_str()), 1;
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return Run(argc, argv); }
