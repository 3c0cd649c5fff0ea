// SPDX-License-Identifier: Apache-2.0
// The stubs of a client, for the sources of the library only: users of client.h need no gRPC.
#pragma once

#include <memory>

#include "adamant/v1/blob.grpc.pb.h"
#include "adamant/v1/dataset.grpc.pb.h"
#include "adamant/v1/model.grpc.pb.h"
#include "adamant/v1/robustness_service.grpc.pb.h"
#include "adamant/v1/system.grpc.pb.h"
#include "client/client.h"

namespace adamant {

struct Client::Stubs {
  std::unique_ptr<v1::RobustnessService::Stub> jobs;
  std::unique_ptr<v1::ModelService::Stub> models;
  std::unique_ptr<v1::DatasetService::Stub> datasets;
  std::unique_ptr<v1::SystemService::Stub> system;
  std::unique_ptr<v1::BlobService::Stub> blobs;       // on the control channel
  std::unique_ptr<v1::BlobService::Stub> bulk_blobs;  // on the bulk channel
};

}  // namespace adamant
