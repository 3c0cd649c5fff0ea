// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adamant/v1/robustness_service.pb.h"
#include "tests/support/workers/fake_worker.h"

namespace adamant::testing {

// A training that tells the fake worker what to do.
inline v1::TrainJobRequest FakeTraining(FakeTask task) {
  v1::TrainJobRequest request;
  v1::TrainSpec& spec = *request.mutable_spec();
  spec.set_seed(task);
  spec.set_steps(10);
  spec.mutable_model()->mutable_architecture()->set_name("mini_gap");
  spec.mutable_train()->mutable_builtin()->set_name("shapes");
  return request;
}

}  // namespace adamant::testing
