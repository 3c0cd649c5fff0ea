// SPDX-License-Identifier: Apache-2.0
#include "server/store/blob_refs.h"

#include <algorithm>

namespace adamant {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void Collect(const Message& message, std::vector<v1::BlobRef>& found) {
  if (message.GetDescriptor() == v1::BlobRef::descriptor()) {
    const auto& blob = static_cast<const v1::BlobRef&>(message);
    if (!blob.sha256().empty()) found.push_back(blob);
    return;
  }
  // Messages of protobuf itself (Struct, Timestamp) hold none.
  if (message.GetDescriptor()->file()->package() != "adamant.v1") return;
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Collect(reflection.GetMessage(message, field), found);
      continue;
    }
    const int count = reflection.FieldSize(message, field);
    for (int i = 0; i < count; ++i)
      Collect(reflection.GetRepeatedMessage(message, field, i), found);
  }
}

}  // namespace

std::vector<v1::BlobRef> BlobRefsIn(const Message& message) {
  std::vector<v1::BlobRef> found;
  Collect(message, found);
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.sha256() < b.sha256(); });
  const auto same = [](const auto& a, const auto& b) { return a.sha256() == b.sha256(); };
  found.erase(std::unique(found.begin(), found.end(), same), found.end());
  return found;
}

}  // namespace adamant
