// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "adamant/v1/attack.pb.h"

namespace adamant {

struct Judgement {
  v1::Verdict verdict = v1::UNCHECKED;
  std::string reason;
};

// INVALID for a failed ERROR, CAUTION for a failed WARNING, TRUSTED when every mandatory check ran
// and passed (an INFO finding is no failure), else UNCHECKED.
Judgement VerdictOf(const std::vector<v1::ValidityCheck>& checks);

}  // namespace adamant
