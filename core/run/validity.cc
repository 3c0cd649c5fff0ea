// SPDX-License-Identifier: Apache-2.0
#include "core/run/validity.h"

namespace adamant {

absl::Status RunValidityChecks(const ValidityInput& input, v1::AttackReport& report) {
  static_cast<void>(input);
  report.set_verdict(v1::UNCHECKED);
  report.set_verdict_reason("validity checks are not part of this release");
  return absl::OkStatus();
}

}  // namespace adamant
