// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/estimate.h"

#include <gtest/gtest.h>

namespace adamant {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kHostBase = 1024 * kMiB;
constexpr int64_t kDeviceBase = 640 * kMiB;

// 1 million parameters (4'000'000 bytes), 500'000 bytes of activations, images of 3'136 bytes.
v1::Model SmallModel() {
  v1::Model model;
  model.set_parameter_count(1'000'000);
  model.set_activation_bytes(500'000);
  model.mutable_input_shape()->set_channels(1);
  model.mutable_input_shape()->set_height(28);
  model.mutable_input_shape()->set_width(28);
  return model;
}

v1::Dataset Digits() {
  v1::Dataset data;
  data.mutable_image_shape()->set_channels(1);
  data.mutable_image_shape()->set_height(28);
  data.mutable_image_shape()->set_width(28);
  data.add_splits()->set_num_samples(10'000);
  data.add_splits()->set_num_samples(60'000);
  return data;
}

TEST(Estimate, OfATrainingCountsWeightsGradientsOptimiserActivationsAndData) {
  v1::JobSpec spec;
  spec.mutable_train()->set_batch_size(32);
  spec.mutable_train()->mutable_optimizer()->set_kind(v1::Optimizer::ADAM);
  const v1::Model model = SmallModel();
  const v1::Dataset data = Digits();
  const v1::Resources found = EstimateResources(spec, &model, &data);
  // Weights, gradients, best weights, two moments: 5 * 4 MB; activations 2 * 0.5 MB * 32 = 32 MB.
  EXPECT_EQ(found.gpu_memory_bytes(), kDeviceBase + 20'000'000 + 32'000'000);
  // Also a checkpoint of 4 * 4 MB, and 60'000 images of 28 * 28 * 4 bytes.
  EXPECT_EQ(found.host_memory_bytes(),
            kHostBase + 20'000'000 + 32'000'000 + 16'000'000 + 188'160'000);
}

TEST(Estimate, OfATrainingTakesTheAutomaticBatchAndTheOptimisersOwnState) {
  v1::JobSpec spec;
  v1::Optimizer& optimizer = *spec.mutable_train()->mutable_optimizer();
  const v1::Model model = SmallModel();
  // Batch 128: activations of 128 MB. SGD has momentum unless it says 0.
  EXPECT_EQ(EstimateResources(spec, &model).gpu_memory_bytes(),
            kDeviceBase + 16'000'000 + 128'000'000);
  optimizer.set_momentum(0);
  EXPECT_EQ(EstimateResources(spec, &model).gpu_memory_bytes(),
            kDeviceBase + 12'000'000 + 128'000'000);
}

TEST(Estimate, OfAnAttackCountsTheRowsOfACallAndTheImagesInFlight) {
  v1::JobSpec spec;
  spec.mutable_attack()->set_compute_batch(10);
  spec.mutable_attack()->set_batch_size(100);
  const v1::Model model = SmallModel();
  // 4 MB + 2 * 0.5 MB * 10 + 8 * 3136 * 100.
  const int64_t working = 4'000'000 + 10'000'000 + 2'508'800;
  EXPECT_EQ(EstimateResources(spec, &model).host_memory_bytes(), kHostBase + working);
  EXPECT_EQ(EstimateResources(spec, &model).gpu_memory_bytes(), kDeviceBase + working);
  // AUTO: 64 rows on the CPU, 256 on a GPU, 8 calls of them in flight.
  spec.mutable_attack()->Clear();
  EXPECT_EQ(EstimateResources(spec, &model).host_memory_bytes(),
            kHostBase + 4'000'000 + 64'000'000 + 8 * 3136 * 512);
  EXPECT_EQ(EstimateResources(spec, &model).gpu_memory_bytes(),
            kDeviceBase + 4'000'000 + 256'000'000 + 8 * 3136 * 2048);
}

TEST(Estimate, OfAnExplanationCountsOneChunk) {
  v1::JobSpec spec;
  spec.mutable_explain()->set_max_batch(4);
  const v1::Model model = SmallModel();
  EXPECT_EQ(EstimateResources(spec, &model).host_memory_bytes(),
            kHostBase + 4'000'000 + 4 * (1'000'000 + 8 * 3136));
}

TEST(Estimate, OfAnUnknownModelIsThatOfAMidSizedOne) {
  v1::JobSpec spec;
  spec.mutable_train()->set_batch_size(1);
  // 4 * 48 MB, activations of 16 MiB; a checkpoint of 3 * 48 MB, 512 MiB of data.
  EXPECT_EQ(EstimateResources(spec, nullptr).gpu_memory_bytes(),
            kDeviceBase + 192'000'000 + 16 * kMiB);
  EXPECT_EQ(EstimateResources(spec, nullptr).host_memory_bytes(),
            kHostBase + 192'000'000 + 16 * kMiB + 144'000'000 + 512 * kMiB);
}

TEST(Estimate, StaysANumberForTheLargestBatch) {
  v1::JobSpec spec;
  spec.mutable_train()->set_batch_size(65536);
  v1::Model model = SmallModel();
  model.set_activation_bytes(int64_t{1} << 50);
  EXPECT_EQ(EstimateResources(spec, &model).gpu_memory_bytes(),
            kDeviceBase + 1'000'000'000'000'000);
}

TEST(DeviceShare, IsAShareOfTheDeviceOrNoLimit) {
  EXPECT_DOUBLE_EQ(DeviceShare(int64_t{20} << 30, int64_t{80} << 30), 0.25);
  EXPECT_DOUBLE_EQ(DeviceShare(int64_t{100} << 30, int64_t{80} << 30), 1);
  EXPECT_EQ(DeviceShare(0, int64_t{80} << 30), 0);
  EXPECT_EQ(DeviceShare(int64_t{20} << 30, 0), 0);
}

}  // namespace
}  // namespace adamant
