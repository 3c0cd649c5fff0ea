// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/system.grpc.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// Facts about this program that its services report.
struct ServerFacts {
  std::string version;
  std::string commit;
  std::string sqlite_version;
};

// What the server can do and how it is doing; see system.proto. Thread-safe.
class SystemServiceImpl : public v1::SystemService::CallbackService {
 public:
  // `set_serving` changes what the health service says.
  SystemServiceImpl(ServiceParts& parts, const ServerFacts& facts,
                    std::function<void(bool)> set_serving);

  // Once the listeners are bound.
  void SetAddresses(const std::string& listen, const std::string& metrics);

  // The server goes down: health says NOT_SERVING, and no UndrainServer changes that.
  void EndServing();

  grpc::ServerUnaryReactor* GetCapabilities(grpc::CallbackServerContext* context,
                                            const v1::GetCapabilitiesRequest* request,
                                            v1::Capabilities* response) override;
  grpc::ServerUnaryReactor* GetServerStatus(grpc::CallbackServerContext* context,
                                            const v1::GetServerStatusRequest* request,
                                            v1::ServerStatus* response) override;
  grpc::ServerUnaryReactor* DrainServer(grpc::CallbackServerContext* context,
                                        const v1::DrainServerRequest* request,
                                        v1::ServerStatus* response) override;
  grpc::ServerUnaryReactor* UndrainServer(grpc::CallbackServerContext* context,
                                          const v1::UndrainServerRequest* request,
                                          v1::ServerStatus* response) override;

  const v1::Capabilities& capabilities() const { return capabilities_; }

 private:
  v1::ServerStatus Status() const;
  grpc::ServerUnaryReactor* AnswerStatus(grpc::CallbackServerContext* context,
                                         v1::ServerStatus* response);

  ServiceParts& parts_;
  v1::Capabilities capabilities_;  // constant after construction
  const google::protobuf::Timestamp start_time_;
  const std::function<void(bool)> set_serving_;
  mutable absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::string listen_address_ ABSL_GUARDED_BY(mutex_);
  std::string metrics_address_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
