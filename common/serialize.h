// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "google/protobuf/message.h"

namespace adamant {

// Equal messages give equal bytes, whatever the order of their maps.
std::string SerializeStably(const google::protobuf::Message& message);

}  // namespace adamant
