// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/html.h"

namespace adamant {
namespace {

constexpr double kWidth = 560, kHeight = 230;
constexpr double kLeft = 52, kRight = 10, kTop = 10, kBottom = 26;
constexpr const char* kColours[] = {"#2458a6", "#b3261e", "#1c7c4a", "#9a6200",
                                    "#6b3fa0", "#0f7c8a", "#8a3b5e", "#4d5a6b"};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
  void Widen() {
    if (high > low) return;
    const double around = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= around;
    high += around;
  }
};

// A step of 1, 2 or 5 times a power of ten that gives about `count` ticks.
double TickStep(const Range& range, int count) {
  const double raw = (range.high - range.low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double digit = raw / power;
  return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

std::string TickText(double value, double step, bool percent) {
  if (std::abs(value) < step * 1e-6) value = 0;
  return percent ? absl::StrFormat("%g %%", std::round(value * 1e6) / 1e4)
                 : absl::StrFormat("%.4g", value);
}

class Canvas {
 public:
  Canvas(Range x, Range y) : x_(x), y_(y) {}

  double X(double value) const {
    return kLeft + (value - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    return kHeight - kBottom - (value - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  std::string Axes(bool percent) const {
    std::string svg;
    const double y_step = TickStep(y_, 4);
    for (double v = std::ceil(y_.low / y_step) * y_step; v <= y_.high + y_step * 1e-9;
         v += y_step) {
      absl::StrAppendFormat(&svg,
                            "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" "
                            "stroke=\"#dfe4ea\"/><text x=\"%.1f\" y=\"%.1f\" "
                            "text-anchor=\"end\">%s</text>\n",
                            kLeft, kWidth - kRight, Y(v), Y(v), kLeft - 6, Y(v) + 4,
                            TickText(v, y_step, percent));
    }
    const double x_step = TickStep(x_, 5);
    for (double v = std::ceil(x_.low / x_step) * x_step; v <= x_.high + x_step * 1e-9;
         v += x_step) {
      absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
                            X(v), kHeight - 8, TickText(v, x_step, false));
    }
    return svg;
  }

  // One polyline per stretch of finite values; a point of its own is a dot.
  std::string Line(const ChartSeries& series, const char* colour) const {
    std::string svg;
    std::string path;
    int length = 0;
    std::pair<double, double> last;
    const auto end_stretch = [&] {
      if (length == 1) {
        absl::StrAppendFormat(&svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
                              X(last.first), Y(last.second), colour);
      } else if (length > 1) {
        absl::StrAppendFormat(&svg,
                              "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" "
                              "stroke-width=\"1.6\" stroke-linejoin=\"round\"/>\n",
                              path, colour);
      }
      path.clear();
      length = 0;
    };
    for (const auto& point : series.points) {
      if (!std::isfinite(point.second)) {
        end_stretch();
        continue;
      }
      absl::StrAppendFormat(&path, "%s%.1f,%.1f", length == 0 ? "" : " ", X(point.first),
                            Y(point.second));
      last = point;
      ++length;
    }
    end_stretch();
    return svg;
  }

 private:
  const Range x_, y_;
};

}  // namespace

std::string LineChart(absl::string_view title, const std::vector<ChartSeries>& series,
                      bool percent) {
  Range x, y;
  for (const ChartSeries& one : series) {
    for (const auto& [at, value] : one.points) {
      if (!std::isfinite(value)) continue;
      x.Add(at);
      y.Add(value);
    }
  }
  if (x.empty()) return "";
  x.Widen();
  y.Widen();
  const Canvas canvas(x, y);
  std::string svg = absl::StrFormat(
      "<figure class=\"chart\"><div class=\"title\">%s</div><svg viewBox=\"0 0 %g %g\" "
      "role=\"img\" aria-label=\"%s over steps\">\n%s",
      Escaped(title), kWidth, kHeight, Escaped(title), canvas.Axes(percent));
  std::string legend;
  for (size_t i = 0; i < series.size(); ++i) {
    const char* colour = kColours[i % std::size(kColours)];
    svg += canvas.Line(series[i], colour);
    absl::StrAppend(&legend, "<span><i style=\"background:", colour, "\"></i>",
                    Escaped(series[i].name), "</span>");
  }
  return absl::StrCat(svg, "</svg><div class=\"legend\">", legend, "</div></figure>\n");
}

}  // namespace adamant
