// SPDX-License-Identifier: Apache-2.0
// What a run in core sees of the world: its inputs, and where progress, metrics, artifacts and
// checkpoints go. The worker implements it over its channel, tests in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"
#include "common/files.h"
#include "core/base/run_control.h"
#include "core/data/dataset.h"
#include "core/models/model_file.h"

namespace adamant {

// A data source before it is opened: the reader and its files.
struct DataInput {
  std::string name;  // `datasets/{id}` or the reader's name
  v1::PluginSpec reader;
  DataFiles files;
};

// Methods are called by the thread that runs the job, except StopRequested.
class RunContext {
 public:
  virtual ~RunContext() = default;

  // Inputs. `role` is "train", "validation" or "data"; NOT_FOUND when the job has no such input.
  virtual const ModelInput& model() const = 0;
  virtual absl::StatusOr<DataInput> data(absl::string_view role) const = 0;
  // The last published checkpoint of an earlier attempt, or null.
  virtual std::shared_ptr<const FileView> resume() const = 0;
  virtual std::string device() const = 0;  // "cpu", "cuda:0"
  // Divides the batches that the engine chooses itself, after an attempt ran out of memory.
  virtual int micro_batch_divisor() const { return 1; }
  virtual int64_t memory_limit() const { return 0; }  // of this process, bytes; 0: none

  // Reports. Never fail: a broken channel becomes a stop request.
  virtual void Progress(const v1::Progress& progress) = 0;
  virtual void Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) = 0;
  virtual void Warn(absl::string_view code, absl::string_view text) = 0;
  virtual void Log(absl::string_view level, absl::string_view text) = 0;

  // Publishes bytes; returns when they are durable. `artifact` gives role, name, media_type and
  // step.
  virtual absl::StatusOr<v1::BlobRef> WriteArtifact(v1::Artifact artifact,
                                                    absl::string_view bytes) = 0;
  virtual absl::Status SaveCheckpoint(int64_t step, absl::string_view bytes) = 0;

  virtual bool StopRequested() const = 0;  // cancel, pause or drain; thread-safe
  virtual void Tick() = 0;                 // work goes on: feeds the watchdog

  RunControl Control() {
    return RunControl([this] { return StopRequested(); }, [this] { Tick(); });
  }
};

}  // namespace adamant
