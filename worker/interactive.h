// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adamant/v1/job.pb.h"
#include "core/engine.h"
#include "worker/server_link.h"

namespace adamant {

// How a failed attempt, or a failed request, is judged.
v1::AttemptOutcome OutcomeOf(const absl::Status& status);

// Loads the model and answers one ExplainCall after the other, until the server closes the channel,
// which ends the process. Returns only when it must not go on: the device failed.
absl::Status AnswerExplainCalls(ServerLink& link, const ModelInput& model,
                                const std::string& device);

}  // namespace adamant
