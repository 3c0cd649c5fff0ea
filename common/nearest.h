// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace adamant {

// The known name closest to `name` by edit distance (a swap of neighbours counts as one edit), or
// "" when none is within a third of its length (at least 2 edits).
std::string NearestName(absl::string_view name, const std::vector<std::string>& known);

// `unknown attack "pdg"; did you mean "pgd"? known: apgd_ce, fgsm, pgd`
std::string UnknownNameMessage(absl::string_view what, absl::string_view name,
                               const std::vector<std::string>& known);

}  // namespace adamant
