// SPDX-License-Identifier: Apache-2.0
// The parts of a training run that stand alone: optimisers, schedules, augmentations, data order,
// the completion of a spec.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim.h>

#include <numeric>

#include "core/base/torch.h"
#include "core/run/augment.h"
#include "core/run/optimizer.h"
#include "core/run/schedule.h"
#include "core/run/train_data.h"
#include "core/run/train_plan.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

v1::TrainSpec MinimalSpec() {
  v1::TrainSpec spec;
  spec.set_epochs(1);
  return spec;
}

v1::TrainSpec Complete(const v1::TrainSpec& spec) {
  const absl::StatusOr<v1::TrainSpec> complete = CompleteTrainSpec(spec);
  EXPECT_TRUE(complete.ok()) << complete.status();
  return complete.value_or(v1::TrainSpec());
}

at::Tensor Parameter(std::vector<float> values) {
  return at::tensor(values).set_requires_grad(true);
}

void SetGradient(at::Tensor parameter, std::vector<float> values) {
  parameter.mutable_grad() = at::tensor(values);
}

TEST(Optimizer, SgdWithMomentumAndDecayFollowsTheHandComputedSteps) {
  v1::TrainSpec spec = MinimalSpec();
  spec.mutable_optimizer()->set_momentum(0.5);
  spec.mutable_optimizer()->set_weight_decay(0.1);
  const at::Tensor w = Parameter({1.0f});
  Optimizer optimizer(Complete(spec).optimizer(), {{"w", w}});
  SetGradient(w, {2.0f});
  optimizer.Step(0.1);
  EXPECT_NEAR(w.item<float>(), 1 - 0.1 * 2.1, 1e-6);  // g = 2 + .1 * 1, m = g
  SetGradient(w, {1.0f});
  optimizer.Step(0.1);
  // w = .79: g = 1 + .079, m = .5 * 2.1 + 1.079 = 2.129
  EXPECT_NEAR(w.item<float>(), 0.79 - 0.2129, 1e-6);
}

TEST(Optimizer, AdamMovesByTheLearningRateInItsFirstStep) {
  v1::TrainSpec spec = MinimalSpec();
  spec.mutable_optimizer()->set_kind(v1::Optimizer::ADAM);
  const at::Tensor w = Parameter({1.0f, 1.0f});
  Optimizer optimizer(Complete(spec).optimizer(), {{"w", w}});
  SetGradient(w, {3.0f, -0.01f});
  optimizer.Step(0.01);
  EXPECT_NEAR(w[0].item<float>(), 0.99, 1e-6);
  EXPECT_NEAR(w[1].item<float>(), 1.01, 1e-6);
}

TEST(Optimizer, DecayOfWeightsOnlyLeavesVectorsAlone) {
  v1::TrainSpec spec = MinimalSpec();
  spec.mutable_optimizer()->set_momentum(0);
  spec.mutable_optimizer()->set_weight_decay(0.5);
  spec.mutable_optimizer()->set_decay_weights_only(true);
  const at::Tensor bias = Parameter({2.0f});
  const at::Tensor weight = at::full({1, 1}, 2.0f).set_requires_grad(true);
  Optimizer optimizer(Complete(spec).optimizer(), {{"bias", bias}, {"weight", weight}});
  SetGradient(bias, {0.0f});
  weight.mutable_grad() = at::zeros({1, 1});
  optimizer.Step(0.1);
  EXPECT_EQ(bias.item<float>(), 2.0f);
  EXPECT_NEAR(weight.item<float>(), 2 - 0.1 * 0.5 * 2, 1e-6);
}

TEST(Optimizer, ClippingScalesToTheGlobalNormAndReturnsTheOldOne) {
  const at::Tensor a = Parameter({0.0f});
  const at::Tensor b = Parameter({0.0f});
  Optimizer optimizer(Complete(MinimalSpec()).optimizer(), {{"a", a}, {"b", b}});
  SetGradient(a, {3.0f});
  SetGradient(b, {4.0f});
  EXPECT_NEAR(optimizer.ClipGradients(0).item<float>(), 5, 1e-6);
  EXPECT_EQ(a.grad().item<float>(), 3.0f);
  EXPECT_NEAR(optimizer.ClipGradients(1).item<float>(), 5, 1e-6);
  EXPECT_NEAR(a.grad().item<float>(), 0.6, 1e-6);
  EXPECT_NEAR(b.grad().item<float>(), 0.8, 1e-6);
}

// Ten steps of ours and of torch::optim on the same gradients.
void ExpectLikeTorch(
    const v1::Optimizer& ours, double lr,
    const std::function<std::unique_ptr<torch::optim::Optimizer>(at::Tensor)>& make) {
  const at::Tensor start = at::linspace(-1, 1, 24).reshape({4, 6});
  const at::Tensor mine = start.clone().set_requires_grad(true);
  const at::Tensor theirs = start.clone().set_requires_grad(true);
  Optimizer optimizer(ours, {{"w", mine}});
  const auto reference = make(theirs);
  for (int step = 0; step < 10; ++step) {
    const at::Tensor gradient = at::sin(start * (step + 1));
    mine.mutable_grad() = gradient.clone();
    theirs.mutable_grad() = gradient.clone();
    optimizer.Step(lr);
    reference->step();
  }
  EXPECT_LT((mine - theirs).abs().max().item<float>(), 1e-5);
}

TEST(Optimizer, AgreesWithTorchOptim) {
  v1::TrainSpec spec = MinimalSpec();
  spec.mutable_optimizer()->set_nesterov(true);
  ExpectLikeTorch(Complete(spec).optimizer(), 0.05, [](at::Tensor w) {
    return std::make_unique<torch::optim::SGD>(
        std::vector<at::Tensor>{w},
        torch::optim::SGDOptions(0.05).momentum(0.9).nesterov(true).weight_decay(5e-4));
  });
  spec = MinimalSpec();
  spec.mutable_optimizer()->set_kind(v1::Optimizer::ADAM);
  spec.mutable_optimizer()->set_weight_decay(0.01);
  ExpectLikeTorch(Complete(spec).optimizer(), 0.01, [](at::Tensor w) {
    return std::make_unique<torch::optim::Adam>(std::vector<at::Tensor>{w},
                                                torch::optim::AdamOptions(0.01).weight_decay(0.01));
  });
  spec.mutable_optimizer()->set_decoupled(true);
  ExpectLikeTorch(Complete(spec).optimizer(), 0.01, [](at::Tensor w) {
    return std::make_unique<torch::optim::AdamW>(
        std::vector<at::Tensor>{w}, torch::optim::AdamWOptions(0.01).weight_decay(0.01));
  });
}

TEST(Optimizer, GoesOnFromASavedState) {
  v1::TrainSpec spec = MinimalSpec();
  spec.mutable_optimizer()->set_kind(v1::Optimizer::ADAM);
  const v1::Optimizer adam = Complete(spec).optimizer();
  const at::Tensor a = Parameter({1.0f});
  Optimizer first(adam, {{"w", a}});
  SetGradient(a, {1.0f});
  first.Step(0.1);
  const at::Tensor b = a.detach().clone().set_requires_grad(true);
  Optimizer second(adam, {{"w", b}});
  const NamedTensors from = first.State();
  const NamedTensors to = second.State();
  ASSERT_EQ(from.size(), 3u);
  for (size_t i = 0; i < from.size(); ++i) to[i].second.copy_(from[i].second);
  SetGradient(a, {0.5f});
  SetGradient(b, {0.5f});
  first.Step(0.1);
  second.Step(0.1);
  EXPECT_EQ(a.item<float>(), b.item<float>());
}

TEST(Schedule, KindsFollowTheirFormulas) {
  const RunLength length{.total_steps = 100, .steps_per_epoch = 10, .in_epochs = true};
  v1::TrainSpec spec = MinimalSpec();
  v1::Schedule& schedule = *spec.mutable_schedule();
  const auto lr = [&](int64_t step) {
    return LearningRate(Complete(spec).schedule(), 0.2, length, step);
  };
  EXPECT_EQ(lr(0), 0.2);
  schedule.set_kind(v1::Schedule::STEP);
  schedule.add_milestones(3);
  schedule.add_milestones(5);
  EXPECT_DOUBLE_EQ(lr(29), 0.2);
  EXPECT_DOUBLE_EQ(lr(30), 0.02);  // epoch 3 begins
  EXPECT_DOUBLE_EQ(lr(50), 0.002);
  schedule.Clear();
  schedule.set_kind(v1::Schedule::COSINE);
  schedule.set_min_lr(0.01);
  EXPECT_DOUBLE_EQ(lr(0), 0.2);
  EXPECT_NEAR(lr(50), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(lr(99), 0.01);
  schedule.Clear();
  schedule.set_kind(v1::Schedule::CYCLIC);
  EXPECT_DOUBLE_EQ(lr(0), 0);
  EXPECT_DOUBLE_EQ(lr(25), 0.1);
  EXPECT_DOUBLE_EQ(lr(50), 0.2);
  EXPECT_DOUBLE_EQ(lr(75), 0.1);
  schedule.Clear();
  schedule.set_kind(v1::Schedule::EXPONENTIAL);
  schedule.set_gamma(0.5);
  schedule.set_every(2);
  EXPECT_DOUBLE_EQ(lr(19), 0.2);
  EXPECT_DOUBLE_EQ(lr(20), 0.1);
  schedule.Clear();
  schedule.set_warmup_steps(4);
  EXPECT_DOUBLE_EQ(lr(0), 0.05);
  EXPECT_DOUBLE_EQ(lr(3), 0.2);
}

Batch OneRow(std::vector<float> pixels, int64_t id) {
  return {at::tensor(pixels).reshape({1, 1, 1, static_cast<int64_t>(pixels.size())}),
          at::zeros({1}, at::kLong), at::full({1}, id, at::kLong)};
}

TEST(Augmentations, CertainFlipMirrorsAndImpossibleFlipDoesNot) {
  google::protobuf::RepeatedPtrField<v1::PluginSpec> specs;
  *specs.Add() = Plugin("hflip", {{"p", 1}});
  const Batch batch = OneRow({1, 2, 3}, 5);
  EXPECT_TRUE(Augmentations::Make(specs)
                  ->Apply(batch, 0, 0)
                  .flatten()
                  .equal(at::tensor({3.0f, 2.0f, 1.0f})));
  specs[0] = Plugin("hflip", {{"p", 0}});
  EXPECT_TRUE(Augmentations::Make(specs)->Apply(batch, 0, 0).equal(batch.images));
  EXPECT_TRUE(batch.images.flatten().equal(at::tensor({1.0f, 2.0f, 3.0f})));
}

TEST(Augmentations, RandomCropShowsAWindowOfThePaddedImage) {
  google::protobuf::RepeatedPtrField<v1::PluginSpec> specs;
  *specs.Add() = Plugin("random_crop", {{"pad", 2}});
  const Augmentations augmentations = *Augmentations::Make(specs);
  const at::Tensor image = at::arange(1, 13, at::kFloat).reshape({1, 1, 3, 4});
  const at::Tensor padded = at::constant_pad_nd(image, {2, 2, 2, 2});
  std::set<std::pair<int, int>> places;
  for (int64_t id = 0; id < 64; ++id) {
    const Batch batch{image, at::zeros({1}, at::kLong), at::full({1}, id, at::kLong)};
    const at::Tensor out = augmentations.Apply(batch, 1, 0);
    for (int top = 0; top < 5; ++top) {
      for (int left = 0; left < 5; ++left) {
        if (padded.narrow(2, top, 3).narrow(3, left, 4).equal(out)) places.insert({top, left});
      }
    }
  }
  EXPECT_GT(places.size(), 15u);  // of 25; 64 draws miss a given one with probability .07
}

TEST(Augmentations, ASampleIsChangedTheSameWayInAnyBatch) {
  google::protobuf::RepeatedPtrField<v1::PluginSpec> specs;
  *specs.Add() = Plugin("random_crop");
  *specs.Add() = Plugin("hflip");
  const Augmentations augmentations = *Augmentations::Make(specs);
  const at::Tensor images = at::rand({4, 3, 8, 8});
  const at::Tensor ids = at::tensor(std::vector<int64_t>{7, 1, 9, 4});
  const at::Tensor labels = at::zeros({4}, at::kLong);
  const at::Tensor all = augmentations.Apply({images, labels, ids}, 3, 2);
  const at::Tensor one = augmentations.Apply(
      {images.narrow(0, 2, 1), labels.narrow(0, 2, 1), ids.narrow(0, 2, 1)}, 3, 2);
  EXPECT_TRUE(all.narrow(0, 2, 1).equal(one));
  EXPECT_FALSE(augmentations.Apply({images, labels, ids}, 3, 3).equal(all));  // another epoch
}

TEST(EpochOrder, IsAPermutationThatDependsOnSeedAndEpochAlone) {
  const std::vector<int64_t> order = EpochOrder(1, 4, 100);
  EXPECT_EQ(order, EpochOrder(1, 4, 100));
  EXPECT_NE(order, EpochOrder(1, 5, 100));
  EXPECT_NE(order, EpochOrder(2, 4, 100));
  std::vector<int64_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(sorted, expected);
}

TEST(SplitForValidation, PartsAreDisjointAndCoverTheSlice) {
  DataSlice slice;
  for (int64_t i = 0; i < 50; ++i) slice.ids.push_back(2 * i);
  const auto [train, validation] = SplitForValidation(slice, 0.2, 0);
  EXPECT_EQ(validation.size(), 10);
  EXPECT_EQ(train.size(), 40);
  std::set<int64_t> all(train.ids.begin(), train.ids.end());
  all.insert(validation.ids.begin(), validation.ids.end());
  EXPECT_EQ(all, std::set<int64_t>(slice.ids.begin(), slice.ids.end()));
}

TEST(CompleteTrainSpec, FillsTheDocumentedDefaults) {
  const v1::TrainSpec spec = Complete(MinimalSpec());
  EXPECT_EQ(spec.objective().name(), "standard");
  EXPECT_EQ(spec.optimizer().kind(), v1::Optimizer::SGD);
  EXPECT_EQ(spec.optimizer().lr(), 0.1);
  EXPECT_EQ(spec.optimizer().momentum(), 0.9);
  EXPECT_EQ(spec.optimizer().weight_decay(), 5e-4);
  EXPECT_EQ(spec.evaluation().every_epochs(), 1);
  EXPECT_EQ(spec.evaluation().samples(), 1000);
  EXPECT_EQ(spec.checkpoint().every_steps(), 500);
  EXPECT_EQ(spec.val_ratio(), 0.1);
}

TEST(CompleteTrainSpec, RefusesWhatItDoesNotServeAndNamesTheField) {
  struct Case {
    std::string field;
    std::function<void(v1::TrainSpec&)> change;
  };
  const std::vector<Case> cases = {
      {"epochs", [](v1::TrainSpec& s) { s.set_steps(10); }},
      {"epochs", [](v1::TrainSpec& s) { s.clear_epochs(); }},
      {"precision", [](v1::TrainSpec& s) { s.set_precision(v1::BF16); }},
      {"ema_decay", [](v1::TrainSpec& s) { s.set_ema_decay(0.9); }},
      {"on_nan", [](v1::TrainSpec& s) { s.set_on_nan(v1::ON_NAN_SKIP); }},
      {"world_size", [](v1::TrainSpec& s) { s.set_world_size(2); }},
      {"evolution", [](v1::TrainSpec& s) { s.mutable_evolution()->set_every_steps(1); }},
      {"evaluation.analyses",
       [](v1::TrainSpec& s) { s.mutable_evaluation()->add_analyses()->set_name("tsne"); }},
      {"optimizer.kind",
       [](v1::TrainSpec& s) { s.mutable_optimizer()->set_kind(v1::Optimizer::RMSPROP); }},
      {"optimizer.lr", [](v1::TrainSpec& s) { s.mutable_optimizer()->set_lr(11); }},
      {"optimizer.lr",
       [](v1::TrainSpec& s) {
         s.mutable_optimizer()->set_lr(std::numeric_limits<double>::quiet_NaN());
       }},
      {"optimizer.decoupled", [](v1::TrainSpec& s) { s.mutable_optimizer()->set_decoupled(true); }},
      {"schedule.milestones",
       [](v1::TrainSpec& s) { s.mutable_schedule()->set_kind(v1::Schedule::STEP); }},
      {"schedule.peak", [](v1::TrainSpec& s) { s.mutable_schedule()->set_peak(0.3); }},
      {"label_smoothing", [](v1::TrainSpec& s) { s.set_label_smoothing(0.6); }},
      {"val_ratio", [](v1::TrainSpec& s) { s.set_val_ratio(-0.1); }},
      {"augmentations[0]", [](v1::TrainSpec& s) { s.add_augmentations()->set_name("mixup"); }},
      {"objective", [](v1::TrainSpec& s) { s.mutable_objective()->set_name("pgd_att"); }},
      {"checkpoint.metric", [](v1::TrainSpec& s) { s.mutable_checkpoint()->set_metric("loss"); }},
  };
  for (const Case& one : cases) {
    v1::TrainSpec spec = MinimalSpec();
    one.change(spec);
    const absl::Status status = CompleteTrainSpec(spec).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << one.field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(one.field));
  }
}

TEST(ResumeDigest, IgnoresEvaluationCheckpointNameAndEpochsOnly) {
  v1::TrainSpec spec = Complete(MinimalSpec());
  v1::TrainSpec other = spec;
  other.set_epochs(7);
  other.set_register_as("m");
  other.mutable_evaluation()->set_samples(3);
  other.mutable_checkpoint()->set_every_steps(9);
  EXPECT_EQ(ResumeDigest(spec), ResumeDigest(other));
  EXPECT_NE(TrainSpecDigest(spec), TrainSpecDigest(other));
  other.set_seed(1);
  EXPECT_NE(ResumeDigest(spec), ResumeDigest(other));
}

}  // namespace
}  // namespace adamant
