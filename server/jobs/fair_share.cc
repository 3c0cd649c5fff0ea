// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/fair_share.h"

#include <cmath>

namespace adamant {
namespace {

double Decayed(double slot_seconds, absl::Duration age) {
  return slot_seconds * std::exp2(-absl::FDivDuration(age, FairShare::kHalfLife));
}

}  // namespace

double FairShare::Weight(const std::string& tenant) const {
  const auto found = weights_.find(tenant);
  return found == weights_.end() || found->second <= 0 ? 1 : found->second;
}

void FairShare::Charge(const std::string& tenant, absl::Duration slot_time, absl::Time now) {
  Account& account = accounts_[tenant];
  if (account.slot_seconds > 0)
    account.slot_seconds = Decayed(account.slot_seconds, now - account.at);
  account.slot_seconds += absl::ToDoubleSeconds(slot_time);
  account.at = now;
}

double FairShare::Usage(const std::string& tenant, absl::Time now) const {
  const auto found = accounts_.find(tenant);
  if (found == accounts_.end()) return 0;
  return Decayed(found->second.slot_seconds, now - found->second.at) / Weight(tenant);
}

double FairShare::Cost(const std::string& tenant, absl::Duration slot_time) const {
  return absl::ToDoubleSeconds(slot_time) / Weight(tenant);
}

}  // namespace adamant
