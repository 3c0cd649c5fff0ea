// SPDX-License-Identifier: Apache-2.0
#include "tests/support/torch/attacks.h"

#include <stdexcept>

#include "core/base/torch.h"

namespace adamant::testing {

absl::StatusOr<std::unique_ptr<Attack>> MakeAttackOr(const std::string& name,
                                                     const ParamValues& values) {
  v1::PluginSpec spec;
  spec.set_name(name);
  for (const auto& [param, value] : values) {
    (*spec.mutable_params()->mutable_fields())[param] = ToValue(value);
  }
  return MakePlugin<Attack>(spec);
}

std::unique_ptr<Attack> MakeAttack(const std::string& name, const ParamValues& values) {
  auto attack = MakeAttackOr(name, values);
  if (!attack.ok()) throw std::invalid_argument(attack.status().ToString());
  return *std::move(attack);
}

at::Tensor RefusingJudge::Submit(const Claims& claims) {
  claims_.push_back(claims);
  return at::zeros({claims.rows.size(0)}, at::kBool);
}

int64_t RefusingJudge::rows() const {
  int64_t rows = 0;
  for (const Claims& one : claims_) rows += one.rows.size(0);
  return rows;
}

}  // namespace adamant::testing
