// SPDX-License-Identifier: Apache-2.0
#include "common/nearest.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace adamant {
namespace {

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string NearestName(absl::string_view name, const std::vector<std::string>& known) {
  std::string nearest;
  size_t best = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const size_t distance =
        EditDistance(name.substr(0, 64), absl::string_view(candidate).substr(0, 64));
    if (distance < best && distance < std::max<size_t>(candidate.size(), 2)) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string UnknownNameMessage(absl::string_view what, absl::string_view name,
                               const std::vector<std::string>& known) {
  std::string message = absl::StrCat("unknown ", what, " \"", name.substr(0, 64), "\"");
  if (const std::string nearest = NearestName(name, known); !nearest.empty()) {
    absl::StrAppend(&message, "; did you mean \"", nearest, "\"?");
  } else {
    absl::StrAppend(&message, ";");
  }
  absl::StrAppend(&message, " known: ", known.empty() ? "none" : absl::StrJoin(known, ", "));
  return message;
}

}  // namespace adamant
