// SPDX-License-Identifier: Apache-2.0
#include "tests/support/torch/memory_run_context.h"

#include "absl/strings/str_cat.h"
#include "common/sha256.h"

namespace adamant {

void MemoryRunContext::UseFreshModel(v1::PluginSpec architecture, const ModelShape& shape) {
  model_input = ModelInput{};
  model_input.name = architecture.name();
  model_input.architecture = std::move(architecture);
  model_input.shape = shape;
}

void MemoryRunContext::UseBuiltin(const std::string& role, v1::PluginSpec reader) {
  DataInput input;
  input.name = reader.name();
  input.reader = std::move(reader);
  inputs[role] = std::move(input);
}

std::vector<double> MemoryRunContext::MetricValues(const std::string& name) const {
  std::vector<double> values;
  for (const Metric& metric : metrics) {
    if (metric.name == name) values.push_back(metric.value);
  }
  return values;
}

bool MemoryRunContext::Warned(const std::string& code) const {
  for (const Warning& warning : warnings) {
    if (warning.code == code) return true;
  }
  return false;
}

const MemoryRunContext::WrittenArtifact* MemoryRunContext::FindArtifact(
    const std::string& role) const {
  for (const WrittenArtifact& written : artifacts) {
    if (written.artifact.role() == role) return &written;
  }
  return nullptr;
}

absl::StatusOr<DataInput> MemoryRunContext::data(absl::string_view role) const {
  const auto found = inputs.find(std::string(role));
  if (found == inputs.end()) return absl::NotFoundError(absl::StrCat("no input \"", role, "\""));
  return found->second;
}

void MemoryRunContext::Metrics(int64_t step,
                               const std::vector<std::pair<std::string, double>>& values) {
  for (const auto& [name, value] : values) metrics.push_back({step, name, value});
}

void MemoryRunContext::Warn(absl::string_view code, absl::string_view text) {
  warnings.push_back({std::string(code), std::string(text)});
}

void MemoryRunContext::Log(absl::string_view level, absl::string_view text) {
  logs.emplace_back(std::string(level), std::string(text));
}

absl::StatusOr<v1::BlobRef> MemoryRunContext::WriteArtifact(v1::Artifact artifact,
                                                            absl::string_view bytes) {
  v1::BlobRef blob;
  blob.set_sha256(Sha256Hex(bytes));
  blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
  *artifact.mutable_blob() = blob;
  artifacts.push_back({std::move(artifact), std::string(bytes)});
  return blob;
}

absl::Status MemoryRunContext::SaveCheckpoint(int64_t step, absl::string_view bytes) {
  checkpoints.push_back({step, std::string(bytes)});
  return absl::OkStatus();
}

void MemoryRunContext::Tick() {
  ++ticks;
  if (on_tick) on_tick();
}

v1::PluginSpec Plugin(const std::string& name,
                      const std::vector<std::pair<std::string, double>>& params) {
  v1::PluginSpec spec;
  spec.set_name(name);
  for (const auto& [key, value] : params) {
    (*spec.mutable_params()->mutable_fields())[key].set_number_value(value);
  }
  return spec;
}

}  // namespace adamant
