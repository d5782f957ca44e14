// carat eval: how well a model predicts a text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/try.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace carat::cli {
namespace {

struct EvalFlags {
  EngineFlags engine;
  MemoryFlags memory;
  std::string text_path;
  bool json = false;
};

struct Prediction {
  std::vector<TokenId> tokens;    // BOS first
  std::vector<double> log_probs;  // of tokens 1, 2, ... given all before them; natural logarithms
  int likeliest = 0;              // how many of those were the model's first choice

  double mean_log_prob() const {
    double sum = 0;
    for (const double log_prob : log_probs) sum += log_prob;
    return sum / static_cast<double>(log_probs.size());
  }
  double perplexity() const { return std::exp(-mean_log_prob()); }
  double likeliest_share() const { return likeliest / static_cast<double>(log_probs.size()); }
};

Result<std::vector<TokenId>> ReadTokens(Console& console, const Engine& engine, const std::string& path) {
  TRY_ASSIGN(const std::string text, ReadInput(console, path));
  TRY_ASSIGN(std::vector<TokenId> tokens, engine.Tokenize(text));
  if (engine.bos_id() >= 0) tokens.insert(tokens.begin(), engine.bos_id());
  if (tokens.size() < 2) return Fail(ErrorCode::kUsage, fmt::format("{}: there is no text to predict", path));
  const auto most = static_cast<size_t>(engine.info().max_positions);
  if (tokens.size() - 1 > most)
    return Fail(ErrorCode::kDoesNotFit, fmt::format("{}: {} tokens, but the model has {} positions; a shorter text "
                                                    "would work",
                                                    path, tokens.size(), most));
  return tokens;
}

Result<Prediction> Predict(Console& console, std::shared_ptr<const Engine> engine, const MemoryFlags& memory,
                           std::vector<TokenId> tokens) {
  SessionOptions options;
  options.context = static_cast<int>(tokens.size() - 1);
  options.logit_batch = options.batch;
  options.progress = console.Progress();
  TRY_ASSIGN(options, memory.Plan(console, engine, options));
  TRY_ASSIGN(Session session, Session::Create(std::move(engine), options));
  const auto vocabulary = static_cast<size_t>(session.engine().info().vocabulary);
  Prediction prediction;
  prediction.tokens = std::move(tokens);
  const std::span<const TokenId> given = std::span(prediction.tokens).first(prediction.tokens.size() - 1);
  TRY(session.AppendWithLogits(given, [&](int64_t /*first*/, std::span<const float> rows) {
    for (; !rows.empty(); rows = rows.subspan(vocabulary)) {
      const std::span<const float> logits = rows.first(vocabulary);
      const auto next = static_cast<size_t>(prediction.tokens[prediction.log_probs.size() + 1]);
      const double largest = *std::ranges::max_element(logits);
      double sum = 0;
      for (const float logit : logits) sum += std::exp(logit - largest);
      prediction.log_probs.push_back(logits[next] - largest - std::log(sum));
      prediction.likeliest += logits[next] == largest ? 1 : 0;
    }
  }));
  return prediction;
}

std::string AsJson(const Prediction& it) {
  Json json;
  json["tokens"] = it.tokens;
  json["log_probs"] = it.log_probs;
  json["mean_log_prob"] = it.mean_log_prob();
  json["perplexity"] = it.perplexity();
  json["likeliest_share"] = it.likeliest_share();
  return json.dump() + "\n";
}

// One line per token: its log-probability, its id, its text (as JSON has it, so that it is on one line).
Result<std::string> AsText(const Engine& engine, const Prediction& it) {
  std::string text;
  for (size_t i = 0; i < it.log_probs.size(); ++i) {
    const TokenId id = it.tokens[i + 1];
    TRY_ASSIGN(const std::string piece, engine.Detokenize({&id, 1}, /*control=*/true));
    text += fmt::format("{:10.5f} {:7} {}\n", it.log_probs[i], id, JsonText(piece));
  }
  return text + fmt::format("{} tokens predicted, perplexity {:.4f}, {:.1f} % were the likeliest\n",
                            it.log_probs.size(), it.perplexity(), 100 * it.likeliest_share());
}

Status Eval(Console& console, const EvalFlags& flags) {
  TRY_ASSIGN(const std::shared_ptr<const Engine> engine, flags.engine.Load(console));
  TRY_ASSIGN(std::vector<TokenId> tokens, ReadTokens(console, *engine, flags.text_path));
  TRY_ASSIGN(const Prediction prediction, Predict(console, engine, flags.memory, std::move(tokens)));
  if (flags.json) return console.Write(AsJson(prediction));
  TRY_ASSIGN(const std::string text, AsText(*engine, prediction));
  return console.WriteUntrusted(text);
}

}  // namespace

void AddEval(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "How well a model predicts a text");
  flags->engine.AddTo(*command);
  flags->memory.AddTo(*command);
  command
      ->add_option("--logprobs", flags->text_path,
                   "A text file (-: stdin): print the log-probability of each of its tokens, and the perplexity")
      ->required();
  command->add_flag("--json", flags->json, "Print JSON: tokens (BOS first), log_probs (of all but the first), ...");
  command->callback([flags, &action] { action = [flags](Console& console) { return Eval(console, *flags); }; });
}

}  // namespace carat::cli
