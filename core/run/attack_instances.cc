// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "core/attacks/stages.h"
#include "core/run/evaluation.h"
#include "core/run/inner_attack.h"

namespace adamant {
namespace {

absl::Status CheckNorm(const Declaration& attack, Norm norm, const std::string& field) {
  const std::string name = NormName(norm);
  if (attack.SupportsNorm(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ".threat.norm: attack \"", attack.name, "\" does not support ", name,
                   "; supported: ", absl::StrJoin(attack.norms, ", ")));
}

// The ball that holds the whole box.
double LargestEpsilon(v1::Norm norm, const ModelShape& shape) {
  const auto pixels = static_cast<double>(shape.height * shape.width);
  const double values = pixels * static_cast<double>(shape.channels);
  switch (norm) {
    case v1::L2:
      return std::sqrt(values);
    case v1::L1:
      return values;
    case v1::L0:
      return pixels;
    default:
      return 1;
  }
}

// One entry of the list, field by field.
class EntryReader {
 public:
  EntryReader(const v1::AttackEntry& entry, int position, const ModelShape& shape, bool unbounded)
      : entry_(entry),
        position_(position),
        shape_(shape),
        unbounded_(unbounded),
        field_(absl::StrCat("attacks[", position, "]")) {}

  absl::Status Read(std::vector<AttackInstance>& out) {
    AttackInstance base;
    base.position = position_;
    RETURN_IF_ERROR(Choose(entry_.attack(), base));
    base.entry = base.spec.name();
    base.name = absl::StrCat(position_, ":", base.entry);
    base.stream = base.name;
    const Declaration& declaration = Registry<Attack>::All().at(base.entry).declaration;
    base.no_ball = declaration.HasTrait("no_ball");
    base.whole_set = declaration.HasTrait("whole_set");
    base.cohorts = declaration.HasTrait("cohorts");
    base.replays_set = declaration.HasTrait("replays_set");
    if (base.no_ball) return ReadWithoutBall(base, out);
    if (entry_.threat().norm() == v1::NORM_UNSPECIFIED) {
      return Bad(".threat.norm: missing; choose LINF, L2, L1 or L0");
    }
    ASSIGN_OR_RETURN(const std::vector<double> epsilons, ReadEpsilons());
    for (const double epsilon : epsilons) {
      base.given = entry_.threat();
      base.given.set_epsilon(epsilon);
      if (epsilon != entry_.threat().epsilon()) base.given.clear_epsilon_text();
      ASSIGN_OR_RETURN(base.threat, ToThreatModel(base.given, shape_));
      RETURN_IF_ERROR(CheckNorm(declaration, base.threat.norm, field_));
      RETURN_IF_ERROR(AddStages(base, out));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Bad(absl::string_view text) const {
    return absl::InvalidArgumentError(absl::StrCat(field_, text));
  }

  static absl::Status Choose(const v1::PluginSpec& choice, AttackInstance& instance) {
    ASSIGN_OR_RETURN(instance.spec, NormalizePluginSpec(choice, Registry<Attack>::Family()));
    ASSIGN_OR_RETURN(std::unique_ptr<Attack> attack, MakePlugin<Attack>(instance.spec));
    instance.attack = std::move(attack);
    return absl::OkStatus();
  }

  absl::Status ReadWithoutBall(AttackInstance& base, std::vector<AttackInstance>& out) const {
    if (entry_.has_threat() && entry_.threat().norm() != v1::NORM_UNSPECIFIED) {
      return Bad(absl::StrCat(".threat: attack \"", base.entry,
                              "\" has a budget of its own and takes no threat model"));
    }
    if (!entry_.epsilons().empty()) return Bad(".epsilons: the attack has no threat model");
    base.threat.epsilon = 1;
    out.push_back(base);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<double>> ReadEpsilons() const {
    const std::vector<double> grid(entry_.epsilons().begin(), entry_.epsilons().end());
    if (!std::is_sorted(grid.begin(), grid.end())) return Bad(".epsilons: must ascend");
    if (!unbounded_) return grid.empty() ? std::vector<double>{entry_.threat().epsilon()} : grid;
    if (entry_.threat().epsilon() != 0 && grid.empty()) {
      return Bad(
          ".threat.epsilon: mode MIN_NORM searches for the smallest distance; leave it out, or "
          "list epsilons to learn the success rate at each");
    }
    return std::vector<double>{LargestEpsilon(entry_.threat().norm(), shape_)};
  }

  // The attack itself, or the stages of a composite one.
  absl::Status AddStages(const AttackInstance& base, std::vector<AttackInstance>& out) const {
    const auto* composite = dynamic_cast<const CompositeAttack*>(base.attack.get());
    if (composite == nullptr) {
      out.push_back(base);
      return absl::OkStatus();
    }
    const std::vector<v1::PluginSpec> stages = composite->Stages(base.threat.norm);
    for (size_t i = 0; i < stages.size(); ++i) {
      AttackInstance stage = base;
      stage.stage = static_cast<int>(i);
      stage.last_stage = i + 1 == stages.size();
      RETURN_IF_ERROR(Choose(stages[i], stage));
      RETURN_IF_ERROR(CheckNorm(Registry<Attack>::All().at(stage.spec.name()).declaration,
                                stage.threat.norm, absl::StrCat(field_, ", stage ", i)));
      stage.name = StageStream(base.stream, stage.stage, stage.spec.name());
      stage.stream = stage.name;
      out.push_back(std::move(stage));
    }
    return absl::OkStatus();
  }

  const v1::AttackEntry& entry_;
  const int position_;
  const ModelShape& shape_;
  const bool unbounded_;
  const std::string field_;
};

}  // namespace

absl::StatusOr<std::vector<AttackInstance>> MakeInstances(
    const google::protobuf::RepeatedPtrField<v1::AttackEntry>& entries, const ModelShape& shape,
    bool unbounded) {
  std::vector<AttackInstance> instances;
  for (int i = 0; i < entries.size(); ++i) {
    RETURN_IF_ERROR(EntryReader(entries[i], i, shape, unbounded).Read(instances));
  }
  return instances;
}

}  // namespace adamant
