// SPDX-License-Identifier: Apache-2.0
// Pieces of an HTML page that needs nothing from outside. Every text that goes in is escaped.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace adamant {

// Safe between tags and inside quoted attributes.
std::string Escaped(absl::string_view text);

// `<tag class="...">text</tag>` around escaped text.
std::string Element(absl::string_view tag, absl::string_view css_class, absl::string_view text);

// A table of plain texts; cells that are quantities are aligned to the right. "" without rows.
std::string HtmlTable(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows);

// A picture inside the page.
std::string ImageElement(absl::string_view media_type, absl::string_view bytes,
                         absl::string_view caption);

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // by x; a value that is not finite is a gap
};

// Lines over steps as SVG. `percent` shows ratios as per cent. "" when nothing is finite.
std::string LineChart(absl::string_view title, const std::vector<ChartSeries>& series,
                      bool percent);

// The whole page.
std::string HtmlPage(absl::string_view title, absl::string_view body);

}  // namespace adamant
