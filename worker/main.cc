// SPDX-License-Identifier: Apache-2.0
// adamant-worker: runs one job attempt, one validation of an upload, or one lease of interactive
// explanations, then exits. Talks to adamantd over descriptor 3; opens no path after Start and uses
// no network.
//
//   adamant-worker --catalog    prints the serialised worker.v1.Catalog
//   adamant-worker              serves descriptor 3
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "common/version.h"
#include "common/worker_exit.h"
#include "core/engine.h"
#include "worker/interactive.h"
#include "worker/job_context.h"
#include "worker/server_link.h"

namespace adamant {
namespace {

constexpr int kServerSocket = 3;

worker::v1::Catalog MakeCatalog() {
  worker::v1::Catalog catalog;
  for (v1::PluginFamily& family : engine::Catalog()) *catalog.add_families() = std::move(family);
  for (v1::Device& device : engine::Devices()) *catalog.add_devices() = std::move(device);
  catalog.set_libtorch_version(engine::LibtorchVersion());
  catalog.set_build_id(absl::StrCat(kVersion, "+libtorch-", engine::LibtorchVersion()));
  return catalog;
}

// A specification too long for a frame comes as the input file "spec".
absl::StatusOr<v1::JobSpec> SpecOf(const worker::v1::Start& start, const JobInputs& inputs) {
  if (start.has_job()) return start.job();
  const absl::StatusOr<DataInput> input = inputs.data("spec");
  if (!input.ok() || input->files.empty()) return absl::InvalidArgumentError("there is no task");
  const absl::string_view bytes = input->files[0].view->bytes();
  v1::JobSpec spec;
  if (!spec.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return absl::DataLossError("the specification cannot be parsed");
  return spec;
}

absl::Status RunJob(const v1::JobSpec& spec, JobContext& context, v1::JobReport& report) {
  switch (spec.spec_case()) {
    case v1::JobSpec::kTrain:
      return engine::Train(spec.train(), context, *report.mutable_train());
    case v1::JobSpec::kAttack:
      return engine::Attack(spec.attack(), context, *report.mutable_attack());
    case v1::JobSpec::kExplain:
      return engine::Explain(spec.explain(), context, *report.mutable_explain());
    default:
      return absl::InvalidArgumentError("the job has no spec");
  }
}

// Does what `start` asks for and fills `result`.
absl::Status RunTask(ServerLink& link, ReceivedFrame& received, worker::v1::Result& result) {
  const worker::v1::Start& start = received.frame.start();
  if (start.probe()) {
    result.set_probed(true);
    return engine::Probe(start.device());
  }
  absl::StatusOr<JobInputs> inputs = JobInputs::Open(start, std::move(received.descriptors));
  if (!inputs.ok()) return inputs.status();
  const std::string device = start.device().empty() ? "cpu" : start.device();
  engine::LimitMemory(device, start.device_memory_fraction());
  if (start.interactive()) return AnswerExplainCalls(link, inputs->model(), device);
  JobContext context(link, *inputs, start, device);
  v1::Progress began;
  began.set_phase("start");
  context.Progress(began);
  if (start.has_validate_model()) {
    *result.mutable_model() = start.validate_model();
    return engine::InspectModel(inputs->model(), *result.mutable_model());
  }
  if (start.has_validate_dataset()) {
    *result.mutable_dataset() = start.validate_dataset();
    absl::StatusOr<DataInput> data = inputs->data("data");
    return data.ok() ? engine::InspectDataset(*data, *result.mutable_dataset()) : data.status();
  }
  const absl::StatusOr<v1::JobSpec> spec = SpecOf(start, *inputs);
  return spec.ok() ? RunJob(*spec, context, *result.mutable_report()) : spec.status();
}

int Serve() {
  ServerLink link{Descriptor(kServerSocket)};
  const worker::v1::Catalog catalog = MakeCatalog();
  worker::v1::Hello hello;
  hello.set_protocol_version(1);
  hello.set_build_id(catalog.build_id());
  hello.set_catalog_digest(Sha256Hex(catalog.SerializeAsString()));
  *hello.mutable_devices() = catalog.devices();
  hello.set_sandbox_level("none");
  link.SayHello(hello);

  ReceivedFrame start = link.WaitForStart();
  engine::Prepare(start.frame.start().threads());
  worker::v1::Frame last;
  worker::v1::Result& result = *last.mutable_result();
  absl::Status status = RunTask(link, start, result);
  if (result.ByteSizeLong() > FrameChannel::kMaxFrameBytes - 1024) {
    result.clear_result();
    status = absl::InternalError("the report is larger than 1 MiB");
  }
  if (absl::IsCancelled(status)) {
    result.set_stopped(true);
  } else if (!status.ok()) {
    result.mutable_error()->set_code(static_cast<int>(status.code()));
    result.mutable_error()->set_message(std::string(status.message().substr(0, 4096)));
  }
  if (!absl::IsCancelled(status)) result.set_outcome(OutcomeOf(status));
  link.Send(std::move(last));
  return 0;
}

}  // namespace
}  // namespace adamant

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "--catalog") return adamant::MakeCatalog().SerializeToOstream(&std::cout) ? 0 : 1;
  if (mode == "--version") {
    std::cout << "adamant-worker " << adamant::kVersion << ", LibTorch "
              << adamant::engine::LibtorchVersion() << "\n";
    return 0;
  }
  if (argc > 1) {
    std::cerr << "adamant-worker is started by adamantd; by hand only --catalog and --version\n";
    return 2;
  }
  try {
    // LibTorch's thread pools must not be torn down while they are in use: leave without
    // destructors.
    const int code = adamant::Serve();
    std::cout.flush();
    std::_Exit(code);
  } catch (const std::bad_alloc&) {
    return adamant::kExitOutOfMemory;
  } catch (const std::exception& e) {
    std::cerr << "adamant-worker: " << e.what() << "\n";
    return adamant::kExitInternal;
  }
}
