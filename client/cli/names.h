// SPDX-License-Identifier: Apache-2.0
// What the user means by --model, --dataset and a job: asks the server.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/dataset.pb.h"
#include "adamant/v1/model.pb.h"
#include "client/cli/session.h"

namespace adamant {

// `[a-z][a-z0-9-]{0,62}`: what a registered model or dataset can be called.
bool IsResourceId(absl::string_view text);

// `models/ID` or `ID`; "models/" is added. Usage error for anything else.
absl::StatusOr<std::string> ModelName(absl::string_view text);
absl::StatusOr<std::string> DatasetName(absl::string_view text);

// A registered model, `jobs/UID`, or (with `architectures`) an architecture with its parameters.
absl::StatusOr<v1::ModelSource> ResolveModel(Session& session, const v1::PluginSpec& typed,
                                             bool architectures);

// A registered dataset, or a reader that needs no files.
absl::StatusOr<v1::DataSource> ResolveData(Session& session, const v1::PluginSpec& typed);

// `jobs/UID`, `UID`, or the first 4 or more characters of a uid that only one job has.
absl::StatusOr<std::string> ResolveJob(Session& session, absl::string_view text);

}  // namespace adamant
