// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/struct.pb.h"

namespace adamant {

// Brings a value that a person wrote into the JSON form of the message: lower-case enum names,
// quotients such as 8/255 in number fields (ThreatModel.epsilon keeps its text), and refuses
// fields that do not exist, naming the nearest. `path` is where `value` stands.
absl::Status CheckSpecValue(const google::protobuf::Descriptor& type, const std::string& path,
                            google::protobuf::Value& value);

}  // namespace adamant
