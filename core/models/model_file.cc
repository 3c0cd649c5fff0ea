// SPDX-License-Identifier: Apache-2.0
#include "core/models/model_file.h"

#include <google/protobuf/util/json_util.h>

#include <charconv>
#include <stdexcept>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "core/base/canonical_json.h"
#include "core/base/torch.h"
#include "core/models/prototypes.h"
#include "core/models/safetensors.h"
#include "core/models/safetensors_header.h"
#include "core/models/torchscript.h"

namespace adamant {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr size_t kMaxListed = 20;

const std::string* Find(const std::map<std::string, std::string>& metadata,
                        const std::string& key) {
  const auto found = metadata.find("adamant." + key);
  return found == metadata.end() ? nullptr : &found->second;
}

absl::Status BadMetadata(absl::string_view key, absl::string_view value, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("metadata adamant.", key, " = \"", value, "\": ", why));
}

absl::Status Contradiction(absl::string_view what, absl::string_view asked,
                           absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("the request says ", what, " = ", asked, ", the file says ", found,
                   "; leave it out of the request to take the file's"));
}

// The architecture of the request, completed by the file's metadata.
absl::StatusOr<v1::PluginSpec> ResolveArchitecture(
    const v1::PluginSpec& asked, const std::map<std::string, std::string>& metadata) {
  const std::string* name = Find(metadata, "architecture");
  if (name == nullptr) {
    if (!asked.name().empty()) return asked;
    return absl::InvalidArgumentError(
        "the file has no adamant.* metadata: name its architecture in the request");
  }
  if (!asked.name().empty() && asked.name() != *name) {
    return Contradiction("architecture", asked.name(), *name);
  }
  v1::PluginSpec spec;
  spec.set_name(*name);
  if (const std::string* params = Find(metadata, "params"); params != nullptr) {
    const auto parsed = google::protobuf::util::JsonStringToMessage(*params, spec.mutable_params());
    if (!parsed.ok()) return BadMetadata("params", *params, "not a JSON object");
  }
  ASSIGN_OR_RETURN(spec, NormalizePluginSpec(spec, Registry<Model>::Family()));
  for (const auto& [key, value] : asked.params().fields()) {
    const auto found = spec.params().fields().find(key);
    if (found == spec.params().fields().end()) {
      v1::PluginSpec strange = asked;  // lets the check name the unknown parameter
      return NormalizePluginSpec(strange, Registry<Model>::Family()).status();
    }
    if (CanonicalJson(found->second) != CanonicalJson(value)) {
      return Contradiction(key, CanonicalJson(value), CanonicalJson(found->second));
    }
  }
  return spec;
}

absl::Status Merge(absl::string_view what, int64_t found, int64_t& size) {
  if (size != 0 && size != found) {
    return Contradiction(what, absl::StrCat(size), absl::StrCat(found));
  }
  size = found;
  return absl::OkStatus();
}

absl::Status MergeShape(const std::map<std::string, std::string>& metadata, ModelShape& shape) {
  if (const std::string* input = Find(metadata, "input"); input != nullptr) {
    const std::vector<std::string> parts = absl::StrSplit(*input, ',');
    int64_t c = 0, h = 0, w = 0;
    if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &c) || !absl::SimpleAtoi(parts[1], &h) ||
        !absl::SimpleAtoi(parts[2], &w)) {
      return BadMetadata("input", *input, "expected C,H,W");
    }
    RETURN_IF_ERROR(Merge("channels", c, shape.channels));
    RETURN_IF_ERROR(Merge("height", h, shape.height));
    RETURN_IF_ERROR(Merge("width", w, shape.width));
  }
  if (const std::string* classes = Find(metadata, "classes"); classes != nullptr) {
    int64_t k = 0;
    if (!absl::SimpleAtoi(*classes, &k)) return BadMetadata("classes", *classes, "not a number");
    RETURN_IF_ERROR(Merge("classes", k, shape.num_classes));
  }
  return absl::OkStatus();
}

// Makes the architecture; a class count that nobody gave comes from the last layer in the file.
absl::StatusOr<std::unique_ptr<Model>> BuildFor(const Safetensors& file, const v1::PluginSpec& spec,
                                                ModelShape shape) {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, MakePlugin<Model>(spec, shape, uint64_t{0}));
  const auto last = file.tensors.find(model->info().classifier);
  if (shape.num_classes != 0 || last == file.tensors.end() || last->second.dim() == 0 ||
      last->second.size(0) == model->info().shape.num_classes) {
    return model;
  }
  shape.num_classes = last->second.size(0);
  return MakePlugin<Model>(spec, shape, uint64_t{0});
}

bool Loadable(const at::Tensor& from, const at::Tensor& to) {
  const bool widens = from.scalar_type() == at::kHalf || from.scalar_type() == at::kBFloat16;
  return from.sizes() == to.sizes() && (from.scalar_type() == to.scalar_type() || widens);
}

std::string Describe(const at::Tensor& t) {
  return absl::StrCat(c10::toString(t.scalar_type()), "[", absl::StrJoin(t.sizes(), ","), "]");
}

// ST-11: every tensor of the architecture is there with its shape, and no other.
absl::Status CheckTensors(const Safetensors& file, const NamedTensors& expected,
                          const std::string& architecture) {
  std::vector<std::string> wrong;
  std::map<std::string, at::Tensor> extra = file.tensors;
  for (const auto& [name, tensor] : expected) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end()) {
      wrong.push_back(absl::StrCat("missing ", name, " ", Describe(tensor)));
    } else if (!Loadable(found->second, tensor)) {
      wrong.push_back(absl::StrCat("different ", name, " ", Describe(found->second), ", expected ",
                                   Describe(tensor)));
    }
    extra.erase(name);
  }
  const std::string* objective = Find(file.metadata, "objective");
  for (const auto& [name, tensor] : extra) {
    const bool of_objective = name.rfind("objective.", 0) == 0;
    if (of_objective && objective != nullptr && !objective->empty()) continue;
    wrong.push_back(absl::StrCat("extra ", name, " ", Describe(tensor)));
  }
  if (wrong.empty()) return absl::OkStatus();
  const size_t count = wrong.size();
  wrong.resize(std::min(count, kMaxListed));
  return absl::InvalidArgumentError(
      absl::StrCat("ST-11 ARCH_MISMATCH: ", count, " tensors do not fit ", architecture, ": ",
                   absl::StrJoin(wrong, "; "), count > kMaxListed ? "; ..." : ""));
}

absl::Status CheckFinite(const Safetensors& file, const NamedTensors& expected) {
  int64_t count = 0;
  std::vector<std::string> where;
  for (const auto& [name, tensor] : expected) {
    const at::Tensor& value = file.tensors.at(name);
    const int64_t bad = value.numel() - value.isfinite().sum().item<int64_t>();
    count += bad;
    if (bad > 0 && where.size() < kMaxListed) where.push_back(absl::StrCat(name, " ", bad));
  }
  if (count == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("ST-13 NON_FINITE: ", count,
                                                 " weights are NaN or infinite (",
                                                 absl::StrJoin(where, ", "), ")"));
}

NamedTensors TensorsOfObjective(const Safetensors& file) {
  NamedTensors out;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.rfind("objective.", 0) == 0) out.emplace_back(name, tensor.to(at::kFloat).clone());
  }
  return out;
}

absl::StatusOr<std::unique_ptr<Model>> OpenSafetensors(const ModelInput& input) {
  ASSIGN_OR_RETURN(const Safetensors file, ParseSafetensors(input.file));
  if (const std::string* format = Find(file.metadata, "format"); format && *format != "1") {
    return BadMetadata("format", *format, "this version reads format 1");
  }
  ASSIGN_OR_RETURN(const v1::PluginSpec spec,
                   ResolveArchitecture(input.architecture, file.metadata));
  ModelShape shape = input.shape;
  RETURN_IF_ERROR(MergeShape(file.metadata, shape));
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, BuildFor(file, spec, shape));
  const std::string* normaliser = Find(file.metadata, "normaliser");
  if (normaliser != nullptr && *normaliser != model->info().normaliser) {
    return BadMetadata("normaliser", *normaliser,
                       absl::StrCat("adamant.params give ", model->info().normaliser));
  }
  NamedTensors all = model->Parameters();
  const NamedTensors buffers = model->Buffers();
  all.insert(all.end(), buffers.begin(), buffers.end());
  RETURN_IF_ERROR(CheckTensors(file, all, spec.name()));
  if (!input.allow_nonfinite) RETURN_IF_ERROR(CheckFinite(file, all));
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : all) tensor.copy_(file.tensors.at(name));
  if (auto* carrier = dynamic_cast<ObjectiveTensors*>(model.get())) {
    carrier->set_objective_tensors(TensorsOfObjective(file));
  }
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> OpenModel(const ModelInput& input, uint64_t seed) {
  if (input.file == nullptr) return MakePlugin<Model>(input.architecture, input.shape, seed);
  ASSIGN_OR_RETURN(const v1::ModelFormat format, RecogniseModelFormat(input.file->bytes()));
  return format == v1::TORCHSCRIPT ? OpenTorchScript(input) : OpenSafetensors(input);
}

std::string SerializeModel(const Model& model, const std::map<std::string, std::string>& extra) {
  const ModelInfo& info = model.info();
  if (info.format != v1::SAFETENSORS) {
    throw std::logic_error("only models of the zoo are written as safetensors");
  }
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : model.Parameters()) tensors[name] = tensor;
  for (const auto& [name, tensor] : model.Buffers()) tensors[name] = tensor;
  std::map<std::string, std::string> metadata = {
      {"adamant.format", "1"},
      {"adamant.architecture", info.architecture.name()},
      {"adamant.params", CanonicalJson(info.architecture.params())},
      {"adamant.classes", absl::StrCat(info.shape.num_classes)},
      {"adamant.input",
       absl::StrCat(info.shape.channels, ",", info.shape.height, ",", info.shape.width)},
      {"adamant.normaliser", info.normaliser},
      {"adamant.objective", ""},
      {"adamant.train_spec_sha256", ""}};
  for (const auto& [key, value] : extra) metadata[key] = value;
  return WriteSafetensors(tensors, metadata);
}

}  // namespace adamant
