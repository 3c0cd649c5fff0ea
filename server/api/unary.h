// SPDX-License-Identifier: Apache-2.0
// How unary handlers answer.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "server/api/call_context.h"
#include "server/api/status.h"
#include "server/api/task_pool.h"
#include "server/store/job_store.h"

namespace adamant {

inline grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                        const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

// Null, or the answer to a call that the gate has refused: the first line of every handler.
inline grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context) {
  const absl::Status& admission = CallOf(context).admission;
  return admission.ok() ? nullptr : Answer(context, admission);
}

// Runs `work`, which may block, on the pool and finishes the call with what it returns.
inline grpc::ServerUnaryReactor* RunOn(TaskPool& pool, grpc::CallbackServerContext* context,
                                       std::function<absl::Status()> work) {
  if (auto* const refused = Refuse(context)) return refused;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool taken =
      pool.Run([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
  if (!taken) reactor->Finish(ToGrpc(OverloadedStatus()));
  return reactor;
}

// A store reply that becomes the response. `edit` may change the value first.
template <typename T>
Reply<T> AnswerWith(grpc::ServerUnaryReactor* reactor, T* response,
                    std::function<void(T&)> edit = nullptr) {
  return [reactor, response, edit = std::move(edit)](absl::StatusOr<T> value) {
    if (value.ok()) {
      *response = *std::move(value);
      if (edit) edit(*response);
    }
    reactor->Finish(ToGrpc(value.status()));
  };
}

// Runs `work`, which may block, on the pool; the reply that it is given becomes the response.
template <typename T>
grpc::ServerUnaryReactor* ReplyOn(TaskPool& pool, grpc::CallbackServerContext* context, T* response,
                                  std::function<void(Reply<T>)> work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool taken = pool.Run(
      [reactor, response, work = std::move(work)] { work(AnswerWith(reactor, response)); });
  if (!taken) reactor->Finish(ToGrpc(OverloadedStatus()));
  return reactor;
}

// A stream that ends at once with an error.
template <typename Message>
class FailedWriteStream : public grpc::ServerWriteReactor<Message> {
 public:
  explicit FailedWriteStream(const absl::Status& status) { this->Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

// The same for a stream that the client sends.
template <typename Message>
class FailedReadStream : public grpc::ServerReadReactor<Message> {
 public:
  explicit FailedReadStream(const absl::Status& status) { this->Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

// Refuse for a handler that answers with a stream.
template <typename Message>
grpc::ServerWriteReactor<Message>* RefuseStream(grpc::CallbackServerContext* context) {
  const absl::Status& admission = CallOf(context).admission;
  return admission.ok() ? nullptr : new FailedWriteStream<Message>(admission);
}

}  // namespace adamant
