// SPDX-License-Identifier: Apache-2.0
#include "core/engine.h"

#include <malloc.h>
#include <torch/version.h>
#include <unistd.h>

#include <new>
#include <stdexcept>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/analyses/analysis.h"
#include "core/attacks/attack.h"
#include "core/base/device_memory.h"
#include "core/base/torch.h"
#include "core/data/dataset.h"
#include "core/explainers/explainer.h"
#include "core/models/model_file.h"
#include "core/objectives/objective.h"
#include "core/run/evaluate.h"
#include "core/run/explain.h"
#include "core/run/model_figures.h"
#include "core/run/probe.h"
#include "core/run/train.h"

namespace adamant::engine {
namespace {

// Runs `work`, which returns a status, and turns what LibTorch and the plug-ins throw into one.
template <class Work>
absl::Status Guard(Work work) {
  try {
    return work();
  } catch (const Stopped& e) {
    return absl::CancelledError(e.what());
  } catch (const c10::OutOfMemoryError& e) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of device memory: ", e.what_without_backtrace()));
  } catch (const c10::AcceleratorError& e) {
    return absl::AbortedError(absl::StrCat("the device failed: ", e.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory: use a smaller batch_size");
  } catch (const c10::Error& e) {
    const std::string text = e.what_without_backtrace();
    if (absl::StrContains(text, "can't allocate memory")) {
      return absl::ResourceExhaustedError(absl::StrCat("out of memory: ", text));
    }
    return absl::InternalError(text);
  } catch (const std::invalid_argument& e) {
    return absl::InvalidArgumentError(e.what());
  } catch (const std::exception& e) {
    return absl::InternalError(e.what());
  }
}

// Frees nothing back to the kernel between steps: large tensors are otherwise mapped and unmapped
// at each one.
void TuneAllocator() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2000 << 20);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace

std::vector<v1::PluginFamily> Catalog() {
  return {Registry<Dataset>::Family(),         Registry<Model>::Family(),
          Registry<adamant::Attack>::Family(), Registry<Objective>::Family(),
          Registry<Explainer>::Family(),       Registry<Analysis>::Family()};
}

std::vector<v1::Device> Devices() {
  std::vector<v1::Device> devices(1);
  devices[0].set_kind("cpu");
  devices[0].set_name(at::get_cpu_capability());
  devices[0].set_count(static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  devices[0].set_memory_bytes(int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE));
  if (torch::cuda::is_available()) {
    v1::Device& gpu = devices.emplace_back();
    gpu.set_kind("cuda");
    gpu.set_count(static_cast<int>(torch::cuda::device_count()));
  }
  return devices;
}

std::string LibtorchVersion() { return TORCH_VERSION; }

void Prepare(int threads) {
  TuneAllocator();
  if (threads > 0) at::set_num_threads(threads);
  at::set_num_interop_threads(1);
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // Deterministic kernels need no memory filled that they are going to write.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  at::globalContext().setBenchmarkCuDNN(false);
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
}

void LimitMemory(const std::string& device, double fraction) {
  LimitDeviceMemory(device, fraction);
}

absl::Status Probe(const std::string& device) {
  const absl::Status status = Guard([&] { return ProbeDevice(device); });
  if (status.ok() || absl::IsAborted(status)) return status;
  return absl::AbortedError(absl::StrCat("the device failed: ", status.message()));
}

absl::Status InspectModel(const ModelInput& input, v1::Model& model) {
  return Guard([&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<Model> opened, OpenModel(input));
    const ModelInfo& info = opened->info();
    model.set_format(info.format);
    if (info.format == v1::SAFETENSORS) *model.mutable_architecture() = info.architecture;
    model.set_num_classes(static_cast<int>(info.shape.num_classes));
    model.mutable_input_shape()->set_channels(static_cast<int>(info.shape.channels));
    model.mutable_input_shape()->set_height(static_cast<int>(info.shape.height));
    model.mutable_input_shape()->set_width(static_cast<int>(info.shape.width));
    model.set_normalisation(info.normaliser);
    model.set_parameter_count(info.parameter_count);
    const ModelFigures figures = MeasureFigures(*opened);
    model.set_activation_bytes(figures.activation_bytes);
    model.set_forward_flops(figures.flops);
    model.clear_layers();
    for (v1::Layer& layer : DescribeLayers(info)) *model.add_layers() = std::move(layer);
    return absl::OkStatus();
  });
}

absl::Status InspectDataset(const DataInput& input, v1::Dataset& dataset) {
  return Guard([&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<Dataset> opened,
                     MakePlugin<Dataset>(input.reader, input.files));
    RETURN_IF_ERROR(opened->CheckSamples());
    const DatasetInfo& info = opened->info();
    dataset.clear_splits();
    for (const auto& [name, size] : info.splits) {
      v1::DataSplit* split = dataset.add_splits();
      split->set_name(name);
      split->set_num_samples(size);
    }
    dataset.set_num_classes(static_cast<int>(info.num_classes));
    dataset.mutable_image_shape()->set_channels(static_cast<int>(info.channels));
    dataset.mutable_image_shape()->set_height(static_cast<int>(info.height));
    dataset.mutable_image_shape()->set_width(static_cast<int>(info.width));
    dataset.clear_class_names();
    for (const std::string& name : info.class_names) dataset.add_class_names(name);
    dataset.set_has_masks(info.has_masks);
    dataset.set_has_boxes(info.has_boxes);
    dataset.set_digest(info.digest);
    dataset.set_summary(info.summary);
    return absl::OkStatus();
  });
}

absl::Status Train(const v1::TrainSpec& spec, RunContext& context, v1::TrainReport& report) {
  return Guard([&] { return RunTrain(spec, context, report); });
}

absl::Status Attack(const v1::AttackSpec& spec, RunContext& context, v1::AttackReport& report) {
  return Guard([&] { return Evaluate(spec, context, report); });
}

absl::Status Explain(const v1::ExplainSpec& spec, RunContext& context, v1::ExplainReport& report) {
  return Guard([&] { return RunExplain(spec, context, report); });
}

absl::StatusOr<std::unique_ptr<ExplainSession>> OpenExplainSession(const ModelInput& input,
                                                                   const std::string& device) {
  std::unique_ptr<ExplainSession> session;
  RETURN_IF_ERROR(Guard([&]() -> absl::Status {
    ASSIGN_OR_RETURN(session, ExplainSession::Open(input, device));
    return absl::OkStatus();
  }));
  return session;
}

absl::Status Explain(const ExplainSession& session, const v1::ExplainSpec& spec,
                     const RunControl& control, v1::ExplainResponse& response) {
  return Guard([&] { return session.Explain(spec, control, response); });
}

}  // namespace adamant::engine
