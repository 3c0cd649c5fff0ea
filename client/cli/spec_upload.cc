// SPDX-License-Identifier: Apache-2.0
#include "client/cli/spec_upload.h"

#include <filesystem>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "adamant/v1/explain.pb.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

namespace fs = std::filesystem;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Called with the field that holds `file:PATH`.
using OnFile = std::function<absl::Status(Message&, std::string& name)>;

absl::Status Visit(Message& message, const OnFile& on_file) {
  if (auto* blob = google::protobuf::DynamicCastToGenerated<v1::BlobRef>(&message)) {
    if (!absl::StartsWith(blob->sha256(), kSpecFilePrefix)) return absl::OkStatus();
    return on_file(message, *blob->mutable_sha256());
  }
  if (auto* image = google::protobuf::DynamicCastToGenerated<v1::InlineImage>(&message)) {
    if (!absl::StartsWith(image->name(), kSpecFilePrefix)) return absl::OkStatus();
    return on_file(message, *image->mutable_name());
  }
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    const auto* reflection = message.GetReflection();
    if (!field->is_repeated()) {
      RETURN_IF_ERROR(Visit(*reflection->MutableMessage(&message, field), on_file));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      RETURN_IF_ERROR(Visit(*reflection->MutableRepeatedMessage(&message, field, i), on_file));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void RebaseSpecFiles(const std::string& folder, Message& message) {
  Visit(message, [&](Message&, std::string& name) {
    const fs::path path(std::string(absl::StripPrefix(name, kSpecFilePrefix)));
    if (path.is_relative())
      name = absl::StrCat(kSpecFilePrefix, (fs::path(folder) / path).string());
    return absl::OkStatus();
  }).IgnoreError();
}

absl::Status UploadSpecFiles(
    Message& message,
    const std::function<absl::StatusOr<v1::BlobRef>(const std::string& path)>& upload) {
  return Visit(message, [&](Message& holder, std::string& name) -> absl::Status {
    const std::string path(absl::StripPrefix(name, kSpecFilePrefix));
    if (auto* image = google::protobuf::DynamicCastToGenerated<v1::InlineImage>(&holder)) {
      ASSIGN_OR_RETURN(*image->mutable_data(), ReadFile(path));
      name = fs::path(path).filename().string();
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const v1::BlobRef blob, upload(path));
    holder.CopyFrom(blob);
    return absl::OkStatus();
  });
}

}  // namespace adamant
