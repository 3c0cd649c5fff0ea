// SPDX-License-Identifier: Apache-2.0
// Adversarial training on real digits: the first steps of the MNIST recipe.
#include <gtest/gtest.h>

#include <cstdio>

#include "core/base/torch.h"
#include "core/run/train.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/reference.h"

namespace adamant {
namespace {

constexpr int kSteps = 300;
constexpr int kBatch = 100;

TEST(TrainMnistSlow, WarmedUpAdversarialTrainingLeavesTheLossOfAConstantPredictor) {
  REQUIRE_TEST_DATA();
  MemoryRunContext context;
  context.UseFreshModel(Plugin("mnist_cnn"), {1, 28, 28, 10});
  context.UseBuiltin("train", Plugin("mnist"));
  context.inputs["train"].files = testing::MnistTrainFiles();
  v1::TrainSpec spec;
  spec.mutable_objective()->set_name("pgd_at");
  spec.mutable_threat()->set_norm(v1::LINF);
  spec.mutable_threat()->set_epsilon(0.3);
  spec.set_eps_warmup_frac(0.3);
  spec.set_steps(kSteps);
  spec.set_batch_size(kBatch);
  spec.mutable_optimizer()->set_kind(v1::Optimizer::ADAM);
  spec.mutable_optimizer()->set_lr(2e-3);
  spec.mutable_schedule()->set_kind(v1::Schedule::COSINE);
  spec.mutable_evaluation()->set_samples(500);
  v1::TrainReport report;
  const absl::Status status = RunTrain(spec, context, report);
  ASSERT_TRUE(status.ok()) << status;
  const v1::TrainEvaluationResult& last = report.evaluations(report.evaluations_size() - 1);
  std::printf("%.3f s per step, %.0f %% of it in the attack; clean %.3f robust %.3f loss %.3f\n",
              report.train_seconds() / kSteps, 100 * report.attack_share_ratio(),
              last.clean_accuracy().ratio(), last.robust_accuracy(0).accuracy().ratio(),
              last.train_loss());
  // A constant predictor has a loss of ln 10 = 2.30 and 10 % accuracy.
  EXPECT_LT(context.MetricValues("loss").back(), 1.8);
  EXPECT_GT(last.clean_accuracy().ratio(), 0.8);
  EXPECT_GT(last.robust_accuracy(0).accuracy().ratio(), 0.3);
}

}  // namespace
}  // namespace adamant
