// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adamant/v1/train.pb.h"
#include "core/attacks/attack.h"
#include "core/models/model.h"
#include "core/objectives/objective.h"
#include "core/run/augment.h"
#include "core/run/evaluation.h"
#include "core/run/inner_attack.h"
#include "core/run/run_context.h"
#include "core/run/schedule.h"
#include "core/run/train_data.h"

namespace adamant {

// Everything that a training run works with, opened and checked against each other.
struct TrainSetup {
  v1::TrainSpec spec;  // complete, batch_size and checkpoint.metric included
  std::unique_ptr<Model> model;
  std::unique_ptr<Objective> objective;
  std::unique_ptr<InnerAttack> inner;  // null: the objective attacks nothing
  Augmentations augmentations;
  TrainData train;
  DataSlice validation;  // what evaluations measure on; empty: none
  std::vector<AttackInstance> evaluation_attacks;
  RunLength length;
  int micro_batches = 1;  // parts of a batch whose gradients are summed
  std::vector<std::string> class_names;
  std::string train_digest;
};

// INVALID_ARGUMENT when spec, model and data do not fit each other.
absl::StatusOr<TrainSetup> OpenTraining(const v1::TrainSpec& spec, RunContext& context,
                                        const RunControl& control);

}  // namespace adamant
