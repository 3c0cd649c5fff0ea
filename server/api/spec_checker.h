// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"
#include "adamant/worker/v1/worker.pb.h"
#include "common/plugin_check.h"

namespace adamant {

// Checks one request against the worker's catalogue and writes every default into it, so that what
// is stored says all. Collects every violation; knows no stored object. Fields of the contract that
// this release does not serve are violations too, never ignored. Not thread-safe; one per request.
class SpecChecker {
 public:
  explicit SpecChecker(const worker::v1::Catalog& catalog) : catalog_(catalog) {}

  // Field paths begin with "spec" and "options".
  void CheckSpec(v1::JobSpec& spec);
  // A priority below 0 needs `admin`.
  void CheckOptions(v1::SubmitOptions& options, bool admin);
  // The specification of the interactive Explain: the rules of an ExplainJob, for images inside the
  // request, one explainer, and outputs that fit into the answer.
  void CheckInteractive(v1::ExplainSpec& spec);

  void CheckPlugin(const std::string& field, absl::string_view family, v1::PluginSpec& spec);
  void CheckResourceId(const std::string& field, absl::string_view id);
  void CheckResourceName(const std::string& field, absl::string_view collection,
                         absl::string_view name);
  void CheckLabels(const std::string& field,
                   const google::protobuf::Map<std::string, std::string>& labels);
  void CheckDisplayName(const std::string& field, absl::string_view name);
  void CheckBlob(const std::string& field, const v1::BlobRef& blob);

  void Bad(std::string field, std::string description, std::string reason = "INVALID_SPEC") {
    violations_.push_back({std::move(field), std::move(reason), std::move(description)});
  }

  const std::vector<Violation>& violations() const { return violations_; }

 private:
  void CheckRetryPolicy(v1::RetryPolicy& retry);
  void CheckResources(v1::Resources& resources);
  // Text of any field of `message`, at any depth.
  void CheckTexts(const std::string& field, const google::protobuf::Message& message);
  void CheckDuration(const std::string& field, const google::protobuf::Duration& duration,
                     double low, double high);
  void CheckTrain(v1::TrainSpec& spec);
  void CheckTrainData(v1::TrainSpec& spec);
  void CheckTrainLength(v1::TrainSpec& spec);
  void CheckOptimizer(v1::Optimizer& optimizer);
  void CheckSchedule(v1::TrainSpec& spec);
  void CheckAugmentations(v1::TrainSpec& spec);
  void CheckTrainEvaluation(v1::TrainSpec& spec);
  void CheckTrainThreat(v1::TrainSpec& spec);
  void CheckCheckpointPolicy(v1::TrainSpec& spec);
  void CheckAttack(v1::AttackSpec& spec);
  void CheckAttackOutputs(v1::AttackSpec& spec);
  void CheckAdversarialSet(const v1::AttackSpec& spec);
  void CheckShards(const v1::AttackSpec& spec);
  void CheckExplain(v1::ExplainSpec& spec);
  void CheckExplainMaps(v1::ExplainSpec& spec);
  void CheckImages(const v1::ExplainSpec& spec, size_t max_bytes);
  void CheckExplainTarget(v1::ExplainSpec& spec);
  void CheckExplainLooks(v1::ExplainSpec& spec);
  void CheckExplainOutputs(v1::ExplainSpec& spec);
  void CheckInteractiveOutputs(v1::ExplainSpec& spec);

  void CheckModelSource(const std::string& field, v1::ModelSource& source, bool training);
  void CheckDataSource(const std::string& field, v1::DataSource& source,
                       absl::string_view default_split);
  void CheckThreat(const std::string& field, v1::ThreatModel& threat);
  void CheckEpsilon(const std::string& field, v1::Norm norm, double epsilon);
  // The plug-in, its threat model, and that they fit each other.
  void CheckAttackChoice(const std::string& field, v1::PluginSpec& attack, v1::ThreatModel& threat,
                         bool inner);
  void CheckEntry(const std::string& field, v1::AttackEntry& entry);
  void CheckAnalyses(const std::string& field,
                     google::protobuf::RepeatedPtrField<v1::PluginSpec>& analyses);
  void Range(const std::string& field, double value, double low, double high);
  void NotServed(const std::string& field, absl::string_view what);

  const v1::PluginFamily& Family(absl::string_view name) const;

  const worker::v1::Catalog& catalog_;
  std::vector<Violation> violations_;
};

}  // namespace adamant
