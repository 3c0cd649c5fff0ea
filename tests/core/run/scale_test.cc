// SPDX-License-Identifier: Apache-2.0
// Evaluations side by side, and large ones (C25, C26 of attacks.md 7).
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "core/base/torch.h"
#include "core/engine.h"
#include "core/run/evaluation.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

EvaluationResult RunAttack(const v1::PluginSpec& attack, Model& model, const Samples& samples,
                           double epsilon, const EvaluationOptions& options = {}) {
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries;
  v1::AttackEntry& entry = *entries.Add();
  *entry.mutable_attack() = attack;
  entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_threat()->set_epsilon(epsilon);
  const auto instances = MakeInstances(entries, model.info().shape);
  EXPECT_TRUE(instances.ok()) << instances.status();
  auto result = RunEvaluation(model, samples, *instances, options, {});
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

std::vector<std::string> Outcomes(const EvaluationResult& result) {
  std::vector<std::string> bytes;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    bytes.push_back(outcome.SerializeAsString());
  }
  return bytes;
}

// C25. Each thread has a model of its own; attacks share plug-ins and LibTorch.
TEST(Threads, EvaluationsSideBySideGiveWhatEachGivesAlone) {
  constexpr ModelShape kShape{1, 8, 8, 5};
  const std::vector<v1::PluginSpec> attacks = {
      Plugin("pgd", {{"steps", 10}}), Plugin("apgd_t", {{"steps", 10}, {"n_targets", 2}}),
      Plugin("fab_t", {{"steps", 5}, {"n_targets", 2}}), Plugin("square", {{"queries", 50}})};
  const auto run = [&](const v1::PluginSpec& attack) {
    const auto model = testing::ToyMlp(kShape);
    const Batch batch = testing::ToyBatch(*model, 40);
    return Outcomes(RunAttack(attack, *model, SamplesOf(batch), 0.02));
  };
  std::vector<std::vector<std::string>> together(attacks.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < attacks.size(); ++i) {
    threads.emplace_back([&, i] { together[i] = run(attacks[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < attacks.size(); ++i)
    EXPECT_EQ(together[i], run(attacks[i])) << attacks[i].name();
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// Images made when they are read, all of them classified as they should be: a set of any size.
Samples Synthetic(const Model& model, int64_t size) {
  return {.size = size, .read = [&model](absl::Span<const int64_t> positions) {
            const ModelShape& shape = model.info().shape;
            const at::NoGradGuard no_grad;
            Batch batch;
            batch.ids = at::tensor(std::vector<int64_t>(positions.begin(), positions.end()));
            const at::Tensor level = batch.ids.remainder(97).to(at::kFloat).div(97);
            batch.images = level.view({-1, 1, 1, 1})
                               .expand({-1, shape.channels, shape.height, shape.width})
                               .contiguous();
            batch.labels = model.Logits(batch.images).argmax(1);
            return absl::StatusOr<Batch>(batch);
          }};
}

// C26. 10 000 images of 3x64x64 floats are 470 MiB: they must not be in memory together.
TEST(SlowMemory, DoesNotGrowWithTheNumberOfImages) {
  constexpr ModelShape kShape{3, 64, 64, 10};
  constexpr int64_t kMiB = int64_t{1} << 20;
  const auto model = testing::ToyLinear(kShape);
  int64_t first = 0;
  int64_t most = 0;
  EvaluationOptions options;
  options.observe = [&](const EvaluationProgress& now) {
    int64_t& part = now.attacked <= 2000 ? first : most;
    part = std::max(part, ResidentBytes());
  };
  const EvaluationResult result =
      RunAttack(Plugin("fgsm", {}), *model, Synthetic(*model, 10000), 1e-6, options);
  EXPECT_EQ(result.outcomes.size(), 10000U);
  EXPECT_GT(first, 0);
  EXPECT_LT(most - first, 100 * kMiB) << "after the first two thousand";
}

}  // namespace
}  // namespace adamant
