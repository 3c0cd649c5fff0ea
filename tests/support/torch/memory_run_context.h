// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/run/run_context.h"

namespace adamant {

// A RunContext in memory: a test sets the inputs, runs, and reads what was reported. Not
// thread-safe, except StopRequested.
class MemoryRunContext : public RunContext {
 public:
  struct Metric {
    int64_t step = 0;
    std::string name;
    double value = 0;
  };
  struct Warning {
    std::string code;
    std::string text;
  };
  struct WrittenArtifact {
    v1::Artifact artifact;  // with the BlobRef that was answered
    std::string bytes;
  };
  struct Checkpoint {
    int64_t step = 0;
    std::string bytes;
  };

  // Inputs.
  ModelInput model_input;
  std::map<std::string, DataInput> inputs;  // by role: "train", "validation", "data"
  std::shared_ptr<const FileView> resume_file;
  std::string device_name = "cpu";
  int divisor = 1;                // of batches that the engine chooses
  std::function<bool()> stop;     // asked by StopRequested; empty = never
  std::function<void()> on_tick;  // called by Tick

  // Reports.
  std::vector<v1::Progress> progress;
  std::vector<Metric> metrics;
  std::vector<Warning> warnings;
  std::vector<std::pair<std::string, std::string>> logs;  // level, text
  std::vector<WrittenArtifact> artifacts;
  std::vector<Checkpoint> checkpoints;
  int64_t ticks = 0;

  // Fresh weights of `architecture` for images of `shape`.
  void UseFreshModel(v1::PluginSpec architecture, const ModelShape& shape);
  // A reader without files, e.g. `shapes`, under `role`.
  void UseBuiltin(const std::string& role, v1::PluginSpec reader);

  // The values of one metric in the order they came.
  std::vector<double> MetricValues(const std::string& name) const;
  bool Warned(const std::string& code) const;
  // The first artifact of this role, or null.
  const WrittenArtifact* FindArtifact(const std::string& role) const;

  const ModelInput& model() const override { return model_input; }
  absl::StatusOr<DataInput> data(absl::string_view role) const override;
  std::shared_ptr<const FileView> resume() const override { return resume_file; }
  std::string device() const override { return device_name; }
  int micro_batch_divisor() const override { return divisor; }
  void Progress(const v1::Progress& message) override { progress.push_back(message); }
  void Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) override;
  void Warn(absl::string_view code, absl::string_view text) override;
  void Log(absl::string_view level, absl::string_view text) override;
  absl::StatusOr<v1::BlobRef> WriteArtifact(v1::Artifact artifact,
                                            absl::string_view bytes) override;
  absl::Status SaveCheckpoint(int64_t step, absl::string_view bytes) override;
  bool StopRequested() const override { return stop && stop(); }
  void Tick() override;
};

// {name, params} with numeric parameters, e.g. Plugin("pgd", {{"steps", 4}}).
v1::PluginSpec Plugin(const std::string& name,
                      const std::vector<std::pair<std::string, double>>& params = {});

}  // namespace adamant
