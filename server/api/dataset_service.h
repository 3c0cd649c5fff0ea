// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adamant/v1/dataset.grpc.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// Registered datasets; see dataset.proto. Thread-safe.
class DatasetServiceImpl : public v1::DatasetService::CallbackService {
 public:
  explicit DatasetServiceImpl(ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* RegisterDataset(grpc::CallbackServerContext* context,
                                            const v1::RegisterDatasetRequest* request,
                                            v1::Dataset* response) override;
  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context,
                                       const v1::GetDatasetRequest* request,
                                       v1::Dataset* response) override;
  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* context,
                                         const v1::ListDatasetsRequest* request,
                                         v1::ListDatasetsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteDataset(grpc::CallbackServerContext* context,
                                          const v1::DeleteDatasetRequest* request,
                                          google::protobuf::Empty* response) override;

 private:
  absl::StatusOr<v1::Dataset> CheckRegister(const v1::RegisterDatasetRequest& request);

  ServiceParts& parts_;
};

}  // namespace adamant
