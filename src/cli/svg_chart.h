// Line charts, as SVG.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace carat::cli {

struct ChartPoint {
  double x = 0, y = 0;
  double low = 0, high = 0;  // the range of y, of measured curves
};

struct ChartCurve {
  enum class Kind { kMeasured, kPredicted, kLimit } kind = Kind::kMeasured;
  std::string name;
  std::vector<ChartPoint> points;  // by x
};

struct Chart {
  std::string title, x_name, y_name;
  bool log_x = false;           // in powers of two
  std::vector<double> x_ticks;  // ascending; the first and the last are the ends of the axis
  std::vector<ChartCurve> curves;
};

// The charts side by side under a title; y begins at 0. Texts may come from a file: they are escaped.
std::string SvgCharts(std::string_view title, std::span<const Chart> charts);

}  // namespace carat::cli
