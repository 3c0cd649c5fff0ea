// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/estimate.h"

#include <algorithm>

namespace adamant {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kHostBase = 1024 * kMiB;
constexpr int64_t kDeviceBase = 640 * kMiB;
constexpr int64_t kUnknownData = 512 * kMiB;
constexpr int64_t kUnknownParameters = 12'000'000;
constexpr int64_t kUnknownActivations = 8 * kMiB;
constexpr int64_t kUnknownImage = 3 * 32 * 32;  // values

constexpr int64_t kValueBytes = 4;
constexpr int64_t kBackward = 2;     // activations, and the gradients that flow back through them
constexpr int64_t kImageCopies = 8;  // an attack's iterates, gradients, best images
constexpr int64_t kCallsInFlight = 8;
constexpr int64_t kTrainBatch = 128;
constexpr int64_t kHostRows = 64;
constexpr int64_t kDeviceRows = 256;
constexpr int64_t kExplainChunk = 64;

// Larger than any machine; keeps the products of what users write within 64 bits.
constexpr double kMost = 1e15;

// Figures of a model, in bytes.
struct Figures {
  double parameters = 0;
  double activations = 0;  // a sample
  double image = 0;
};

Figures FiguresOf(const v1::Model* model) {
  const bool known = model != nullptr && model->activation_bytes() > 0;
  const int64_t parameters = known ? model->parameter_count() : kUnknownParameters;
  int64_t values = kUnknownImage;
  if (model != nullptr && model->input_shape().height() > 0) {
    const v1::ImageShape& shape = model->input_shape();
    values = int64_t{shape.channels()} * shape.height() * shape.width();
  }
  return {static_cast<double>(parameters * kValueBytes),
          static_cast<double>(known ? model->activation_bytes() : kUnknownActivations),
          static_cast<double>(values * kValueBytes)};
}

// Values that the optimiser keeps for each parameter.
int64_t StateOf(const v1::Optimizer& optimizer) {
  if (optimizer.kind() == v1::Optimizer::ADAM) return 2;
  const bool sgd = optimizer.kind() != v1::Optimizer::RMSPROP;
  return sgd && optimizer.has_momentum() && optimizer.momentum() == 0 ? 0 : 1;
}

double DataBytes(const v1::Dataset* data) {
  if (data == nullptr || data->image_shape().height() == 0)
    return static_cast<double>(kUnknownData);
  const v1::ImageShape& shape = data->image_shape();
  int64_t samples = 0;
  for (const v1::DataSplit& split : data->splits())
    samples = std::max(samples, split.num_samples());
  return static_cast<double>(kValueBytes * shape.channels()) * shape.height() * shape.width() *
         static_cast<double>(samples);
}

double BatchOr(int64_t given, int64_t automatic) {
  return static_cast<double>(given > 0 ? given : automatic);
}

void Set(double host, double device, v1::Resources& resources) {
  resources.set_host_memory_bytes(kHostBase + static_cast<int64_t>(std::min(host, kMost)));
  resources.set_gpu_memory_bytes(kDeviceBase + static_cast<int64_t>(std::min(device, kMost)));
}

void EstimateTrain(const v1::TrainSpec& spec, const Figures& model, const v1::Dataset* data,
                   v1::Resources& resources) {
  const auto state = static_cast<double>(StateOf(spec.optimizer()));
  const double working = model.parameters * (3 + state) +
                         kBackward * model.activations * BatchOr(spec.batch_size(), kTrainBatch);
  const double checkpoint = model.parameters * (2 + state);
  Set(working + checkpoint + DataBytes(data), working, resources);
}

double AttackBytes(const v1::AttackSpec& spec, const Figures& model, int64_t automatic) {
  const double rows = BatchOr(spec.compute_batch(), automatic);
  const double in_flight = spec.batch_size() > 0 ? spec.batch_size() : kCallsInFlight * rows;
  return model.parameters + kBackward * model.activations * rows +
         kImageCopies * model.image * in_flight;
}

double ExplainBytes(const v1::ExplainSpec& spec, const Figures& model) {
  const double rows = BatchOr(spec.max_batch(), kExplainChunk);
  return model.parameters + (kBackward * model.activations + kImageCopies * model.image) * rows;
}

}  // namespace

v1::Resources EstimateResources(const v1::JobSpec& spec, const v1::Model* model,
                                const v1::Dataset* data) {
  v1::Resources resources;
  const Figures figures = FiguresOf(model);
  if (spec.has_train()) {
    EstimateTrain(spec.train(), figures, data, resources);
  } else if (spec.has_attack()) {
    Set(AttackBytes(spec.attack(), figures, kHostRows),
        AttackBytes(spec.attack(), figures, kDeviceRows), resources);
  } else {
    const double bytes = ExplainBytes(spec.explain(), figures);
    Set(bytes, bytes, resources);
  }
  return resources;
}

double DeviceShare(int64_t bytes, int64_t device_bytes) {
  if (bytes <= 0 || device_bytes <= 0) return 0;
  return std::min(1.0, static_cast<double>(bytes) / static_cast<double>(device_bytes));
}

}  // namespace adamant
