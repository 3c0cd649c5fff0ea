// SPDX-License-Identifier: Apache-2.0
// The only door into core: catalogue, inspect, train, attack, explain. Every method catches what
// LibTorch throws and returns a status: out of memory is RESOURCE_EXHAUSTED, a stop request
// CANCELLED, a non-finite loss OUT_OF_RANGE, a device that failed ABORTED (the process can do
// nothing more on it), anything unforeseen INTERNAL with the text but no backtrace.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/attack.pb.h"
#include "adamant/v1/explain.pb.h"
#include "adamant/v1/plugin.pb.h"
#include "adamant/v1/system.pb.h"
#include "adamant/v1/train.pb.h"
#include "core/run/explain_session.h"
#include "core/run/run_context.h"

namespace adamant::engine {

// All plug-in families, in the order dataset, model, attack, objective, explainer, analysis.
std::vector<v1::PluginFamily> Catalog();
std::vector<v1::Device> Devices();
std::string LibtorchVersion();

// Once per process, before anything else: compute threads (0 = leave), deterministic kernels,
// allocator settings.
void Prepare(int threads);

// After Prepare, before the first use of the device: the share of a GPU's memory that this process
// may allocate; 0 = all.
void LimitMemory(const std::string& device, double fraction);

// Whether the device computes what it should; ABORTED when not.
absl::Status Probe(const std::string& device);

// What a registered model or dataset holds; fills everything that a worker finds out.
absl::Status InspectModel(const ModelInput& input, v1::Model& model);
absl::Status InspectDataset(const DataInput& input, v1::Dataset& dataset);

absl::Status Train(const v1::TrainSpec& spec, RunContext& context, v1::TrainReport& report);
absl::Status Attack(const v1::AttackSpec& spec, RunContext& context, v1::AttackReport& report);
absl::Status Explain(const v1::ExplainSpec& spec, RunContext& context, v1::ExplainReport& report);

// A model that stays loaded and answers interactive explanations.
absl::StatusOr<std::unique_ptr<ExplainSession>> OpenExplainSession(const ModelInput& input,
                                                                   const std::string& device);
absl::Status Explain(const ExplainSession& session, const v1::ExplainSpec& spec,
                     const RunControl& control, v1::ExplainResponse& response);

}  // namespace adamant::engine
