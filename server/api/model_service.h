// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adamant/v1/model.grpc.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// Registered models; see model.proto. Thread-safe.
class ModelServiceImpl : public v1::ModelService::CallbackService {
 public:
  explicit ModelServiceImpl(ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* RegisterModel(grpc::CallbackServerContext* context,
                                          const v1::RegisterModelRequest* request,
                                          v1::Model* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteModel(grpc::CallbackServerContext* context,
                                        const v1::DeleteModelRequest* request,
                                        google::protobuf::Empty* response) override;

 private:
  absl::StatusOr<v1::Model> CheckRegister(const v1::RegisterModelRequest& request);
  absl::StatusOr<v1::ModelFormat> ReadFormat(const v1::BlobRef& blob);

  ServiceParts& parts_;
};

}  // namespace adamant
