// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "adamant/v1/robustness_service.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// ListMetricPoints: the history of a job in the order of attempt and time. With max_points each
// series, which is one name of one attempt, is thinned first and the order is attempt, step, name.
// Steps are in [step_begin, step_end); step_end 0 has no end. A page may be short and still have a
// next one. Blocks on the store.
absl::StatusOr<v1::ListMetricPointsResponse> ListMetricPoints(
    ServiceParts& parts, const v1::ListMetricPointsRequest& request);

}  // namespace adamant
