// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "adamant/v1/blob.pb.h"
#include "google/protobuf/message.h"

namespace adamant {

// Every BlobRef with a digest anywhere inside `message`, each digest once, in the order of digests.
std::vector<v1::BlobRef> BlobRefsIn(const google::protobuf::Message& message);

}  // namespace adamant
