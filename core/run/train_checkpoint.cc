// SPDX-License-Identifier: Apache-2.0
#include "core/run/train_checkpoint.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace adamant {
namespace {

// A tensor, because metadata of the container is limited to 16 KiB.
constexpr char kHeaderTensor[] = "train_checkpoint_header";
constexpr int kVersion = 1;

at::Tensor SerializeHeader(v1::TrainCheckpoint header) {
  header.set_version(kVersion);
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    header.SerializeToCodedStream(&out);
  }
  at::Tensor tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
  std::memcpy(tensor.data_ptr<uint8_t>(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace

std::string WriteTrainCheckpoint(const v1::TrainCheckpoint& header, const NamedTensors& tensors) {
  std::map<std::string, at::Tensor> all(tensors.begin(), tensors.end());
  all[kHeaderTensor] = SerializeHeader(header);
  return WriteSafetensors(all, {{"adamant.format", "train_checkpoint"}});
}

absl::StatusOr<LoadedTrainCheckpoint> ReadTrainCheckpoint(std::shared_ptr<const FileView> file) {
  absl::StatusOr<Safetensors> tensors = ParseSafetensors(std::move(file));
  if (!tensors.ok()) {
    return absl::DataLossError(
        absl::StrCat("the training checkpoint cannot be read: ", tensors.status().message()));
  }
  LoadedTrainCheckpoint loaded;
  loaded.tensors = *std::move(tensors);
  const auto header = loaded.tensors.tensors.find(kHeaderTensor);
  if (header == loaded.tensors.tensors.end() || header->second.scalar_type() != at::kByte ||
      !loaded.header.ParseFromArray(header->second.data_ptr<uint8_t>(),
                                    static_cast<int>(header->second.numel())) ||
      loaded.header.version() != kVersion) {
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

NamedTensors CloneTensors(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) copies.emplace_back(name, tensor.detach().clone());
  return copies;
}

void CopyTensors(const NamedTensors& from, const NamedTensors& to) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < from.size(); ++i) to[i].second.copy_(from[i].second);
}

}  // namespace adamant
