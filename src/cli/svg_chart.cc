#include "cli/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace carat::cli {
namespace {

// Pixels.
constexpr double kWidth = 580, kHeight = 400;  // of a chart with its margins
constexpr double kLeft = 62, kRight = 30, kTop = 96, kBottom = 56;
constexpr double kTitleHeight = 30;
constexpr double kLegendLine = 17;

struct Style {
  std::string_view colour, dashes;
};

Style StyleOf(ChartCurve::Kind kind) {
  switch (kind) {
    case ChartCurve::Kind::kMeasured:
      return {.colour = "#1a56c4", .dashes = ""};
    case ChartCurve::Kind::kPredicted:
      return {.colour = "#c2410c", .dashes = "6 4"};
    case ChartCurve::Kind::kLimit:
      return {.colour = "#6b7280", .dashes = "2 3"};
  }
  return {};
}

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else if (c == '&')
      escaped += "&amp;";
    else
      escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return escaped;
}

std::string Text(double x, double y, std::string_view anchor, std::string_view text, std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y, anchor, more,
                     Escaped(text));
}

std::string Segment(double x1, double y1, double x2, double y2, std::string_view colour, double width = 1,
                    std::string_view dashes = "") {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"{}\" "
      "stroke-dasharray=\"{}\"/>\n",
      x1, y1, x2, y2, colour, width, dashes);
}

// 1, 2 or 5 times a power of ten: the step that makes at most six of `highest`.
double NiceStep(double highest) {
  const double power = std::pow(10, std::floor(std::log10(highest)));
  for (const double step : {0.1, 0.2, 0.5, 1.0})
    if (highest <= 6 * step * power) return step * power;
  return 2 * power;
}

std::string Count(double value) {
  if (value >= 1024 && std::fmod(value, 1024) == 0) return fmt::format("{}K", value / 1024);
  return fmt::format("{}", value);
}

class Drawing {
 public:
  Drawing(const Chart& chart, double left) : chart_(chart), left_(left) {
    for (const ChartCurve& curve : chart.curves)
      for (const ChartPoint& point : curve.points) highest_ = std::max({highest_, point.y, point.high});
    if (highest_ <= 0) highest_ = 1;
    y_step_ = NiceStep(highest_);
    highest_ = std::ceil(highest_ / y_step_) * y_step_;
  }

  std::string Svg() const {
    std::string svg = Axes();
    double legend = kTitleHeight + 38;
    for (const ChartCurve& curve : chart_.curves) {
      svg += Curve(curve);
      const Style style = StyleOf(curve.kind);
      svg += Segment(left_ + kLeft, legend - 4, left_ + kLeft + 24, legend - 4, style.colour, 2, style.dashes);
      svg += Text(left_ + kLeft + 32, legend, "start", curve.name);
      legend += kLegendLine;
    }
    return svg;
  }

 private:
  double Along(double value) const { return chart_.log_x ? std::log2(value) : value; }
  double X(double value) const {
    const double first = Along(chart_.x_ticks.front()), last = Along(chart_.x_ticks.back());
    const double part = last > first ? (Along(value) - first) / (last - first) : 0.5;
    return left_ + kLeft + part * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    const double top = kTitleHeight + kTop, bottom = kTitleHeight + kHeight - kBottom;
    return bottom - value / highest_ * (bottom - top);
  }

  std::string Axes() const {
    const double left = left_ + kLeft, right = left_ + kWidth - kRight;
    std::string svg = Text(left, kTitleHeight + 18, "start", chart_.title, "font-weight=\"bold\"");
    for (int i = 0; i * y_step_ <= highest_ * 1.001; ++i) {
      const double value = i * y_step_;
      svg += Segment(left, Y(value), right, Y(value), i == 0 ? "#374151" : "#e5e7eb");
      svg += Text(left - 8, Y(value) + 4, "end", fmt::format("{:g}", value));
    }
    double written = -1e9;  // where the last label ends
    for (const double tick : chart_.x_ticks) {
      svg += Segment(X(tick), Y(0), X(tick), Y(0) + 5, "#374151");
      if (X(tick) < written + 30) continue;
      svg += Text(X(tick), Y(0) + 19, "middle", Count(tick));
      written = X(tick);
    }
    svg += Text((left + right) / 2, Y(0) + 40, "middle", chart_.x_name);
    return svg + Text(left_ + 14, Y(highest_ / 2), "middle", chart_.y_name,
                      fmt::format("transform=\"rotate(-90 {:.1f} {:.1f})\"", left_ + 14, Y(highest_ / 2)));
  }

  std::string Curve(const ChartCurve& curve) const {
    const Style style = StyleOf(curve.kind);
    std::string path;
    for (const ChartPoint& point : curve.points) path += fmt::format("{:.1f},{:.1f} ", X(point.x), Y(point.y));
    std::string svg = fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>\n", path,
        style.colour, style.dashes);
    if (curve.kind != ChartCurve::Kind::kMeasured) return svg;
    for (const ChartPoint& point : curve.points) {
      svg += Segment(X(point.x), Y(point.low), X(point.x), Y(point.high), style.colour, 1.5);
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", X(point.x), Y(point.y),
                         style.colour);
    }
    return svg;
  }

  const Chart& chart_;
  double left_ = 0, highest_ = 0, y_step_ = 1;
};

}  // namespace

std::string SvgCharts(std::string_view title, std::span<const Chart> charts) {
  const double width = kWidth * static_cast<double>(std::max<size_t>(charts.size(), 1));
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"12\" fill=\"#111827\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n",
      width, kHeight + kTitleHeight);
  svg += Text(14, 24, "start", title, "font-size=\"14\"");
  double left = 0;
  for (const Chart& chart : charts) {
    svg += Drawing(chart, left).Svg();
    left += kWidth;
  }
  return svg + "</svg>\n";
}

}  // namespace carat::cli
