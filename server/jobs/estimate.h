// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adamant/v1/dataset.pb.h"
#include "adamant/v1/job.pb.h"
#include "adamant/v1/model.pb.h"

namespace adamant {

// What a job will need: host_memory_bytes of a run on the CPU, gpu_memory_bytes of a run on a GPU
// (there the host needs less: the same without activations). Meant to be too large rather than too
// small; nothing else of the result is set. With P = 4 bytes a parameter, A =
// Model.activation_bytes and I = 4 bytes an input value:
//
//   train    P * (weights, gradients, best weights, optimiser state) + 2 * A * batch, and on the
//   host
//            P * (best weights, weights, optimiser state) while a checkpoint is written; the
//            optimiser keeps 2 values a parameter with ADAM, 1 with RMSPROP and SGD, 0 with SGD
//            without momentum
//   attack   P + 2 * A * compute_batch + 8 * I * batch in flight
//   explain  P + 2 * A * chunk + 8 * I * chunk
//
// The factor 2 is for the gradients that flow back through the activations. AUTO batches are those
// of the engine: 128 for training, 64 rows (CPU) or 256 (GPU) for attacks with 8 calls in flight,
// 64 images for explanations. Each sum stands on a base, for LibTorch and what else the process
// holds: 1 GiB on the host, 640 MiB on a device. Training data stays in host memory as float32
// values at most; it counts 512 MiB where `data` is unknown.
//
// A model whose figures are unknown (fresh weights of an architecture, a checkpoint, or registered
// before figures were measured) counts as one of 12 million parameters and 8 MiB of activations: a
// ResNet-18 on images of 32x32.
v1::Resources EstimateResources(const v1::JobSpec& spec, const v1::Model* model,
                                const v1::Dataset* data = nullptr);

// The share of a device's memory that a worker may allocate so as to stay below `bytes`; 0, no
// limit, when one of the two is unknown.
double DeviceShare(int64_t bytes, int64_t device_bytes);

}  // namespace adamant
