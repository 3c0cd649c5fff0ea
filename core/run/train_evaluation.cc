// SPDX-License-Identifier: Apache-2.0
#include "core/run/train_evaluation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/attacks/attack.h"
#include "core/run/inner_attack.h"

namespace adamant {
namespace {
constexpr int64_t kBatch = 100;

v1::Accuracy ToAccuracy(int64_t correct, int64_t total) {
  v1::Accuracy accuracy;
  accuracy.set_correct(correct);
  accuracy.set_total(total);
  accuracy.set_ratio(static_cast<double>(correct) / static_cast<double>(total));
  return accuracy;
}

}  // namespace

absl::StatusOr<TrainMeasurement> MeasureInTraining(Model& model, const DataSlice& slice,
                                                   const std::vector<v1::AttackEntry>& entries,
                                                   uint64_t seed, int64_t epoch,
                                                   const RunControl& control) {
  int64_t clean = 0;
  std::vector<int64_t> robust(entries.size(), 0);
  std::vector<int64_t> predicted(model.info().shape.num_classes, 0);
  for (int64_t begin = 0; begin < slice.size(); begin += kBatch) {
    ASSIGN_OR_RETURN(const Batch batch, slice.Read(begin, std::min(begin + kBatch, slice.size())));
    control.Check();
    Victim victim(model);
    const at::Tensor predictions = victim.Logits(batch.images).argmax(1);
    const at::Tensor correct = predictions.eq(batch.labels);
    clean += correct.sum().item<int64_t>();
    for (int64_t i = 0; i < batch.size(); ++i) ++predicted[predictions[i].item<int64_t>()];
    for (size_t e = 0; e < entries.size(); ++e) {
      ASSIGN_OR_RETURN(const std::unique_ptr<Attack> attack,
                       MakePlugin<Attack>(entries[e].attack()));
      ASSIGN_OR_RETURN(const ThreatModel threat,
                       ToThreatModel(entries[e].threat(), model.info().shape));
      AttackSettings settings;
      settings.seed = seed;
      settings.stream = absl::StrCat("eval_attack:", entries[e].attack().name(), ":", epoch);
      const AttackResult result = attack->Run(victim, batch, threat, settings, control);
      robust[e] += victim.Logits(result.images)
                       .argmax(1)
                       .eq(batch.labels)
                       .logical_and(correct)
                       .sum()
                       .item<int64_t>();
    }
  }
  TrainMeasurement out;
  out.clean_accuracy = ToAccuracy(clean, slice.size());
  for (size_t e = 0; e < entries.size(); ++e) {
    v1::NamedAccuracy named;
    named.set_name(entries[e].attack().name());
    *named.mutable_accuracy() = ToAccuracy(robust[e], slice.size());
    out.robust_accuracy.push_back(std::move(named));
  }
  out.largest_class_share =
      static_cast<double>(*std::max_element(predicted.begin(), predicted.end())) /
      static_cast<double>(slice.size());
  return out;
}

}  // namespace adamant
