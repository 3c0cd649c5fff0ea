// SPDX-License-Identifier: Apache-2.0
#include "client/cli/html.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace adamant {
namespace {

constexpr char kStyle[] = R"css(
:root{--ink:#1c2430;--soft:#5d6b7e;--line:#dfe4ea;--wash:#f5f7f9;--accent:#2458a6;
--good:#1c7c4a;--warn:#9a6200;--bad:#b3261e}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:64rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .3rem}
h2{font-size:1.35rem;margin:3rem 0 .3rem;padding-top:1.2rem;border-top:3px solid var(--ink)}
h3{font-size:1rem;margin:2rem 0 .6rem}
.sub{color:var(--soft);margin:0 0 1rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.9rem;margin:1.2rem 0}
.card{border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem}
.card .label{color:var(--soft);font-size:.82rem}
.card .value{font-size:1.7rem;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums}
.card .note{color:var(--soft);font-size:.8rem;overflow-wrap:anywhere}
.card svg{display:block;width:100%;height:14px;margin:.4rem 0 .2rem}
.state{display:inline-block;border-radius:.3rem;padding:.05rem .5rem;font-size:.8rem;font-weight:600;
color:#fff;background:var(--warn);vertical-align:middle}
.good{background:var(--good)}.bad{background:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
th{text-align:left;color:var(--soft);font-weight:600;border-bottom:2px solid var(--line);
padding:.35rem .7rem .35rem 0;white-space:nowrap}
td{border-bottom:1px solid var(--line);padding:.35rem .7rem .35rem 0;vertical-align:top;
overflow-wrap:anywhere}
td.n,th.n{text-align:right;white-space:nowrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;font-size:.88rem;margin:.6rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
ul.notes{font-size:.88rem;padding-left:1.2rem;margin:.4rem 0}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(25rem,1fr));gap:1rem}
figure{margin:0;break-inside:avoid}
figcaption{font-size:.82rem;color:var(--soft);overflow-wrap:anywhere}
.chart{border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.chart svg{display:block;width:100%;height:auto}
.chart text{font:11px system-ui,sans-serif;fill:var(--soft)}
.chart .title{font-weight:600;font-size:.9rem;color:var(--ink)}
.legend{font-size:.8rem;color:var(--soft)}
.legend span{margin-right:1rem;white-space:nowrap}
.legend i{display:inline-block;width:.9rem;height:.2rem;vertical-align:middle;margin-right:.35rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:1rem}
.pictures img{width:100%;border:1px solid var(--line);image-rendering:pixelated}
footer{margin-top:3rem;color:var(--soft);font-size:.8rem}
@media print{body{font-size:11px}main{max-width:none;padding:0}h2{break-before:page}
h2:first-of-type{break-before:auto}.card,.chart,tr{break-inside:avoid}.scroll{overflow:visible}
.state,.legend i{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
)css";

// 12, 93.20 %, 1.5 s; no date, no name.
bool IsQuantity(const std::string& cell) {
  const size_t first = cell.find_first_not_of("+-");
  if (first == std::string::npos) return cell == "-";
  return absl::ascii_isdigit(cell[first]) && cell.find(':') == std::string::npos &&
         std::count_if(cell.begin(), cell.end(), absl::ascii_isalpha) <= 3;
}

}  // namespace

std::string Escaped(absl::string_view text) {
  std::string safe = absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
  for (char& c : safe) {
    if (absl::ascii_iscntrl(c) && c != '\n' && c != '\t') c = ' ';
  }
  return safe;
}

std::string Element(absl::string_view tag, absl::string_view css_class, absl::string_view text) {
  return absl::StrCat("<", tag, css_class.empty() ? "" : " class=\"", css_class,
                      css_class.empty() ? "" : "\"", ">", Escaped(text), "</", tag, ">");
}

std::string HtmlTable(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return "";
  std::vector<bool> numeric(header.size(), true);
  for (const auto& row : rows) {
    for (size_t i = 0; i < header.size(); ++i) numeric[i] = numeric[i] && IsQuantity(row[i]);
  }
  std::string html = "<div class=\"scroll\"><table><thead><tr>";
  for (size_t i = 0; i < header.size(); ++i)
    html += Element("th", numeric[i] ? "n" : "", header[i]);
  html += "</tr></thead><tbody>\n";
  for (const auto& row : rows) {
    html += "<tr>";
    for (size_t i = 0; i < header.size(); ++i) html += Element("td", numeric[i] ? "n" : "", row[i]);
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string ImageElement(absl::string_view media_type, absl::string_view bytes,
                         absl::string_view caption) {
  return absl::StrCat("<figure><img alt=\"", Escaped(caption),
                      "\" src=\"data:", Escaped(media_type), ";base64,", absl::Base64Escape(bytes),
                      "\">", Element("figcaption", "", caption), "</figure>\n");
}

std::string HtmlPage(absl::string_view title, absl::string_view body) {
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'\">\n",
      Element("title", "", title), "<style>", kStyle, "</style></head>\n<body><main>\n", body,
      "</main></body></html>\n");
}

}  // namespace adamant
