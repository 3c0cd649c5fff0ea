// SPDX-License-Identifier: Apache-2.0
#include "core/run/train_checkpoint.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace adamant {
namespace {

constexpr char kHeaderKey[] = "adamant.train_checkpoint";
constexpr int kVersion = 1;

std::string SerializeHeader(v1::TrainCheckpoint header) {
  header.set_version(kVersion);
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    header.SerializeToCodedStream(&out);
  }
  return absl::Base64Escape(bytes);
}

}  // namespace

std::string WriteTrainCheckpoint(const v1::TrainCheckpoint& header, const NamedTensors& tensors) {
  return WriteSafetensors(std::map<std::string, at::Tensor>(tensors.begin(), tensors.end()),
                          {{kHeaderKey, SerializeHeader(header)}});
}

absl::StatusOr<LoadedTrainCheckpoint> ReadTrainCheckpoint(std::shared_ptr<const FileView> file) {
  absl::StatusOr<Safetensors> tensors = ParseSafetensors(std::move(file));
  if (!tensors.ok()) {
    return absl::DataLossError(
        absl::StrCat("the training checkpoint cannot be read: ", tensors.status().message()));
  }
  LoadedTrainCheckpoint loaded;
  loaded.tensors = *std::move(tensors);
  const auto header = loaded.tensors.metadata.find(kHeaderKey);
  std::string bytes;
  if (header == loaded.tensors.metadata.end() || !absl::Base64Unescape(header->second, &bytes) ||
      !loaded.header.ParseFromString(bytes) || loaded.header.version() != kVersion) {
    return absl::DataLossError(absl::StrCat(
        "the training checkpoint has no header of version ", kVersion,
        "; it was not written by this version, start the job again from the beginning"));
  }
  return loaded;
}

absl::Status RestoreTensors(const Safetensors& from, const NamedTensors& live) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : live) {
    const auto found = from.tensors.find(name);
    if (found == from.tensors.end() || found->second.sizes() != tensor.sizes() ||
        found->second.scalar_type() != tensor.scalar_type()) {
      return absl::DataLossError(
          absl::StrCat("the training checkpoint does not fit the model: tensor ", name,
                       found == from.tensors.end() ? " is missing" : " has another shape or type"));
    }
    tensor.copy_(found->second);
  }
  return absl::OkStatus();
}

NamedTensors WithPrefix(const std::string& prefix, const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, tensor] : tensors) out.emplace_back(prefix + name, tensor);
  return out;
}

}  // namespace adamant
