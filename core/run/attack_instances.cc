// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "core/run/evaluation.h"
#include "core/run/inner_attack.h"

namespace adamant {
namespace {

std::vector<double> Epsilons(const v1::AttackEntry& entry) {
  if (entry.epsilons().empty()) return {entry.threat().epsilon()};
  return {entry.epsilons().begin(), entry.epsilons().end()};
}

absl::Status CheckNorm(const Declaration& attack, Norm norm, const std::string& field) {
  const std::string name = NormName(norm);
  if (std::find(attack.norms.begin(), attack.norms.end(), name) != attack.norms.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(field, ".threat.norm: attack \"", attack.name, "\" does not support ", name,
                   "; supported: ", absl::StrJoin(attack.norms, ", ")));
}

absl::Status AddEntry(const v1::AttackEntry& entry, int position, const ModelShape& shape,
                      std::vector<AttackInstance>& out) {
  const std::string field = absl::StrCat("attacks[", position, "]");
  if (entry.threat().norm() == v1::NORM_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".threat.norm: missing; choose LINF, L2, L1 or L0"));
  }
  const std::vector<double> epsilons = Epsilons(entry);
  if (!std::is_sorted(epsilons.begin(), epsilons.end())) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".epsilons: must ascend"));
  }
  AttackInstance instance;
  instance.position = position;
  ASSIGN_OR_RETURN(instance.spec, NormalizePluginSpec(entry.attack(), Registry<Attack>::Family()));
  ASSIGN_OR_RETURN(std::unique_ptr<Attack> attack, MakePlugin<Attack>(instance.spec));
  instance.attack = std::move(attack);
  instance.name = absl::StrCat(position, ":", instance.spec.name());
  instance.stream = instance.name;
  for (const double epsilon : epsilons) {
    instance.given = entry.threat();
    instance.given.set_epsilon(epsilon);
    if (epsilon != entry.threat().epsilon()) instance.given.clear_epsilon_text();
    ASSIGN_OR_RETURN(instance.threat, ToThreatModel(instance.given, shape));
    RETURN_IF_ERROR(CheckNorm(Registry<Attack>::All().at(instance.spec.name()).declaration,
                              instance.threat.norm, field));
    out.push_back(instance);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<AttackInstance>> MakeInstances(
    const google::protobuf::RepeatedPtrField<v1::AttackEntry>& entries, const ModelShape& shape) {
  std::vector<AttackInstance> instances;
  for (int i = 0; i < entries.size(); ++i) {
    RETURN_IF_ERROR(AddEntry(entries[i], i, shape, instances));
  }
  return instances;
}

}  // namespace adamant
