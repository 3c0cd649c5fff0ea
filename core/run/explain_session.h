// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/explain.pb.h"
#include "core/base/run_control.h"
#include "core/models/model_file.h"

namespace adamant {

// A loaded model that answers interactive explanations (service.md 2.7), one at a time. Not
// thread-safe.
class ExplainSession {
 public:
  static absl::StatusOr<std::unique_ptr<ExplainSession>> Open(const ModelInput& input,
                                                              const std::string& device);

  // Fills everything of `response` but what the server knows (queue_seconds, warm). For each image
  // the maps of each layer: the clean one, then the adversarial one when the spec has an attack.
  // RAW_MAP gives a map as the explainer made it, UPSAMPLED_MAP one of the input's size, normalised
  // for display. INVALID_ARGUMENT as an ExplainJob, and for an answer above 3 MiB. Throws Stopped
  // between the parts of an attack and between chunks of at most 8 images.
  absl::Status Explain(const v1::ExplainSpec& spec, const RunControl& control,
                       v1::ExplainResponse& response) const;

 private:
  ExplainSession(std::unique_ptr<Model> model, std::string sha256, std::string device)
      : model_(std::move(model)), sha256_(std::move(sha256)), device_(std::move(device)) {}

  const std::unique_ptr<Model> model_;
  const std::string sha256_;
  const std::string device_;
};

}  // namespace adamant
