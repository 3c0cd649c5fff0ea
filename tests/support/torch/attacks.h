// SPDX-License-Identifier: Apache-2.0
// Attacks as tests make and judge them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/attacks/attack.h"

namespace adamant::testing {

using ParamValues = std::vector<std::pair<std::string, Param::Default>>;

// INVALID_ARGUMENT as MakePlugin gives it.
absl::StatusOr<std::unique_ptr<Attack>> MakeAttackOr(const std::string& name,
                                                     const ParamValues& values = {});
// Fails the test, and throws, where the attack cannot be made.
std::unique_ptr<Attack> MakeAttack(const std::string& name, const ParamValues& values = {});

// Refuses every claim and keeps it.
class RefusingJudge final : public Judge {
 public:
  at::Tensor Submit(const Claims& claims) override;

  int64_t rows() const;  // claimed rows
  const std::vector<Claims>& claims() const { return claims_; }

 private:
  std::vector<Claims> claims_;
};

}  // namespace adamant::testing
