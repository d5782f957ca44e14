#include "cli/bench_report.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/json.h"
#include "cli/console.h"
#include "cli/svg_chart.h"

namespace carat::cli {
namespace {

constexpr double kGiga = 1e-9;

void Put(Json& json, const std::string& name, const Figures& figures) {
  if (figures.empty()) return;
  json[name] = figures.median();
  json[name + "_range"] = {figures.smallest(), figures.largest()};
}

std::string Line(std::string_view name, const Figures& figures, double scale, std::string_view unit) {
  if (figures.empty()) return {};
  return fmt::format("{:<24}{:9.2f}   {:.2f} .. {:.2f} {}\n", name, figures.median() * scale,
                     figures.smallest() * scale, figures.largest() * scale, unit);
}

// What a depth reaches of the speed that its bytes predict from the shallowest one: memory that became slower or faster
// meanwhile is no merit, so it is the shares of the bandwidth that are compared.
double OfPrediction(const Measured& it, const Decode& decode) {
  return decode.share.median() / it.decode.front().share.median();
}

bool HasPrediction(const Measured& it, const Decode& decode) {
  return !decode.share.empty() && decode.depth > it.decode.front().depth;
}

ChartPoint PointOf(double x, const Figures& figures) {
  return {.x = x, .y = figures.median(), .low = figures.smallest(), .high = figures.largest()};
}

ChartCurve LimitCurve(std::string name, const std::vector<LimitPoint>& limit) {
  ChartCurve curve = {.kind = ChartCurve::Kind::kLimit, .name = std::move(name), .points = {}};
  for (const LimitPoint& point : limit)
    curve.points.push_back({.x = static_cast<double>(point.tokens), .y = point.tokens_per_s});
  return curve;
}

Chart PrefillChart(const Measured& it) {
  Chart chart = {.title = "Prefill",
                 .x_name = "tokens of the prompt",
                 .y_name = "tokens/s",
                 .log_x = true,
                 .x_ticks = {},
                 .curves = {}};
  ChartCurve measured = {.name = "measured, median and range", .points = {}};
  for (const Prefill& prefill : it.prefill) {
    chart.x_ticks.push_back(prefill.tokens);
    measured.points.push_back(PointOf(prefill.tokens, prefill.tokens_per_s));
  }
  std::ranges::sort(chart.x_ticks);
  std::ranges::sort(measured.points, {}, &ChartPoint::x);
  chart.curves.push_back(std::move(measured));
  if (!it.prefill_limit.empty())
    chart.curves.push_back(
        LimitCurve(fmt::format("what {:.0f} GOP/s of codes, {:.0f} of blocks and {:.0f} of floats allow",
                               it.peak.integer * kGiga, it.peak.blocks * kGiga, it.peak.floating * kGiga),
                   it.prefill_limit));
  return chart;
}

Chart DecodeChart(const Measured& it) {
  Chart chart = {
      .title = "Decode", .x_name = "tokens in the context", .y_name = "tokens/s", .x_ticks = {}, .curves = {}};
  ChartCurve measured = {.name = "measured, median and range", .points = {}};
  for (const Decode& decode : it.decode) {
    chart.x_ticks.push_back(decode.depth);
    measured.points.push_back(PointOf(decode.depth, decode.tokens_per_s));
  }
  chart.curves.push_back(std::move(measured));
  if (it.decode_limit.empty()) return chart;
  ChartCurve limit =
      LimitCurve(fmt::format("what a bandwidth of {:.1f} GB/s allows", it.bandwidth.median() * kGiga), it.decode_limit);
  ChartCurve predicted = {.kind = ChartCurve::Kind::kPredicted,
                          .name = "what the bytes predict from the first point",
                          .points = limit.points};
  const double share = it.decode.front().tokens_per_s.median() / limit.points.front().y;
  for (ChartPoint& point : predicted.points) point.y *= share;
  chart.curves.push_back(std::move(predicted));
  chart.curves.push_back(std::move(limit));
  return chart;
}

}  // namespace

std::string BenchJson(const Measured& it) {
  Json json = {{"model", it.model},      {"cpu", it.cpu},   {"kernels", it.kernels},
               {"threads", it.threads},  {"reps", it.reps}, {"prefill", Json::array()},
               {"decode", Json::array()}};
  Put(json, "load_s", it.load_s);
  Put(json, "first_token_s", it.first_token_s);
  Put(json, "copy_s", it.copy_s);
  for (const Prefill& prefill : it.prefill) {
    Json& row = json["prefill"].emplace_back(Json{{"tokens", prefill.tokens},
                                                  {"integer_operations", prefill.operations.integer},
                                                  {"block_operations", prefill.operations.blocks},
                                                  {"float_operations", prefill.operations.floating}});
    Put(row, "tokens_per_s", prefill.tokens_per_s);
    Put(row, "operations_per_s", prefill.operations_per_s);
    Put(row, "share_of_arithmetic", prefill.share);
  }
  for (const Decode& decode : it.decode) {
    Json& row = json["decode"].emplace_back(Json{{"depth", decode.depth}, {"bytes_per_token", decode.bytes}});
    Put(row, "tokens_per_s", decode.tokens_per_s);
    Put(row, "bytes_per_s", decode.bytes_per_s);
    Put(row, "share_of_bandwidth", decode.share);
    if (HasPrediction(it, decode)) row["share_of_prediction"] = OfPrediction(it, decode);
  }
  if (!it.agent_s.empty()) Put(json["agent"] = {{"tokens", kAgentTokens}}, "seconds", it.agent_s);
  Put(json, "bandwidth_bytes_per_s", it.bandwidth);
  if (it.peak.integer > 0)
    json["peak_operations_per_s"] = {
        {"integer", it.peak.integer}, {"blocks", it.peak.blocks}, {"float", it.peak.floating}};
  json["peak_memory_bytes"] = it.peak_memory;
  json["kv_bytes"] = it.kv_bytes;
  return JsonText(json) + "\n";
}

std::string BenchText(const Measured& it) {
  std::string text =
      fmt::format("{} on {}, kernels {}, {} threads\n\n{:<24}{:>9}   range\n",
                  WithoutControls(it.model, /*lines=*/false), it.cpu, it.kernels, it.threads, "", "median");
  text += Line("load", it.load_s, 1, "s");
  text += Line(fmt::format("... and read {} tokens", kFirstTokenPrompt), it.first_token_s, 1, "s");
  text += Line("weights copied, once", it.copy_s, 1, "s");
  for (const Prefill& prefill : it.prefill) {
    text += Line(fmt::format("prefill {}", prefill.tokens), prefill.tokens_per_s, 1, "tokens/s");
    text += Line("... arithmetic", prefill.operations_per_s, kGiga, "GOP/s");
    text += Line("... of its limit", prefill.share, 100, "%");
  }
  text += Line(fmt::format("agent, {} tokens", kAgentTokens), it.agent_s, 1, "s");
  for (const Decode& decode : it.decode) {
    text += Line(fmt::format("decode behind {}", decode.depth), decode.tokens_per_s, 1, "tokens/s");
    text += Line("... bytes read", decode.bytes_per_s, kGiga, "GB/s");
    text += Line("... of the bandwidth", decode.share, 100, "%");
    if (HasPrediction(it, decode))
      text += fmt::format("{:<24}{:9.2f}   % of what the bytes predict from a depth of {}\n", "... on the curve",
                          100 * OfPrediction(it, decode), it.decode.front().depth);
  }
  text += Line("bandwidth", it.bandwidth, kGiga, "GB/s");
  if (it.peak.integer > 0)
    text += fmt::format("arithmetic limit {:.0f} GOP/s of codes, {:.0f} of blocks, {:.0f} of floats\n",
                        it.peak.integer * kGiga, it.peak.blocks * kGiga, it.peak.floating * kGiga);
  return text + fmt::format("peak memory {:.0f} MiB, {:.0f} MiB of keys and values behind the last token\n",
                            static_cast<double>(it.peak_memory) / (1 << 20),
                            static_cast<double>(it.kv_bytes) / (1 << 20));
}

std::string BenchPlot(const Measured& it) {
  std::vector<Chart> charts;
  if (!it.prefill.empty()) charts.push_back(PrefillChart(it));
  if (!it.decode.empty()) charts.push_back(DecodeChart(it));
  return SvgCharts(fmt::format("{}, {}, {} threads, kernels {}", it.model, it.cpu, it.threads, it.kernels), charts);
}

}  // namespace carat::cli
