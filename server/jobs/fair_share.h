// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace adamant {

// How much of the slots each tenant had lately: slot-seconds that decay with a half-life of one
// hour, divided by the tenant's weight. Not thread-safe.
class FairShare {
 public:
  static constexpr absl::Duration kHalfLife = absl::Hours(1);

  explicit FairShare(std::map<std::string, double> weights) : weights_(std::move(weights)) {}

  void Charge(const std::string& tenant, absl::Duration slot_time, absl::Time now);
  double Usage(const std::string& tenant, absl::Time now) const;
  // What one more slot for `slot_time` adds to Usage.
  double Cost(const std::string& tenant, absl::Duration slot_time) const;

 private:
  struct Account {
    double slot_seconds = 0;  // as of `at`
    absl::Time at;
  };
  double Weight(const std::string& tenant) const;

  const std::map<std::string, double> weights_;
  absl::flat_hash_map<std::string, Account> accounts_;
};

}  // namespace adamant
