// How fast a vocabulary loads, and how fast text of several kinds is tokenized.
//
// usage: tokenizer_bench MODEL [--rounds N]     (a folder with a tokenizer.json, or a .gguf file)
//
// Times are of the thread's own processor time, the best of the rounds, so that neighbours disturb little.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <string_view>

#include "engine/text_model.h"
#include "text/unicode.h"

namespace carat {
namespace {

constexpr size_t kTextBytes = 4 << 20;

double ThreadSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double BestSeconds(int rounds, const std::function<void()>& work) {
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const double start = ThreadSeconds();
    work();
    best = std::min(best, ThreadSeconds() - start);
  }
  return best;
}

std::string Filled(const std::function<void(std::string&)>& append) {
  std::string text;
  while (text.size() < kTextBytes) append(text);
  return text;
}

void Measure(const text::Tokenizer& tokenizer, const char* name, const std::string& text, int rounds) {
  size_t tokens = 0;
  const double encode = BestSeconds(rounds, [&] { tokens = tokenizer.Encode(text, false).size(); });
  const std::vector<TokenId> ids = tokenizer.Encode(text, false);
  const double decode = BestSeconds(rounds, [&] { (void)tokenizer.Decode(ids, false); });
  const double megabytes = 1e-6 * static_cast<double>(text.size());
  std::printf("%-28s %9zu tokens   encode %6.1f MB/s   decode %6.1f MB/s\n", name, tokens, megabytes / encode,
              megabytes / decode);
}

int Main(int argc, char** argv) {
  const std::string model = argc > 1 ? argv[1] : "";
  const bool has_rounds = argc > 3 && std::string_view(argv[2]) == "--rounds";
  const int rounds = has_rounds ? std::max(1, static_cast<int>(std::strtol(argv[3], nullptr, 10))) : 5;
  Result<TextModel> loaded = LoadTextModel(model);
  if (!loaded) {
    std::fprintf(stderr, "%s\nusage: tokenizer_bench MODEL [--rounds N]\n", loaded.error().message.c_str());
    return 1;
  }
  const double load = BestSeconds(rounds, [&] { (void)LoadTextModel(model); });
  const text::Tokenizer& tokenizer = loaded->tokenizer;
  std::printf("%d tokens, loaded in %.3f s\n", tokenizer.size(), load);

  std::mt19937 random(1);
  const auto one_of = [&](std::string_view letters) { return letters[random() % letters.size()]; };
  const std::string_view words[] = {"the ",   "of ",     "computation ", "model", ", ", "reads ",
                                    "every ", "weight ", "exactly ",     "once",  ".\n"};
  Measure(tokenizer, "words", Filled([&](std::string& text) { text += words[random() % std::size(words)]; }), rounds);
  Measure(tokenizer, "indented code", Filled([&](std::string& text) {
            text += std::string(2 * (random() % 6), ' ') + "if (count" + one_of("0123456789") + " > 0) return;\n";
          }),
          rounds);
  Measure(tokenizer, "Chinese, no spaces",
          Filled([&](std::string& text) { text::AppendUtf8(static_cast<char32_t>(0x4E00 + random() % 0x3000), text); }),
          rounds);
  Measure(tokenizer, "base64, one line", Filled([&](std::string& text) {
            text += one_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
          }),
          rounds);
  Measure(tokenizer, "one letter", std::string(kTextBytes, 'a'), rounds);
  return 0;
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) { return carat::Main(argc, argv); }
