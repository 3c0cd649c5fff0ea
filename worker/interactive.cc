// SPDX-License-Identifier: Apache-2.0
#include "worker/interactive.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/sealed_memory.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr int64_t kMaxRequestBytes = 5 << 20;

absl::StatusOr<v1::ExplainRequest> ReadRequest(const ReceivedFrame& call) {
  if (call.descriptors.size() != 1) return absl::InvalidArgumentError("the request is missing");
  ASSIGN_OR_RETURN(const auto view, OpenSealedMemory(call.descriptors[0].get(), kMaxRequestBytes));
  v1::ExplainRequest request;
  if (!request.ParseFromArray(view->bytes().data(), static_cast<int>(view->bytes().size())))
    return absl::InvalidArgumentError("the request cannot be parsed");
  return request;
}

// The response as a file, or why there is none.
absl::StatusOr<Descriptor> Answer(const absl::StatusOr<std::unique_ptr<ExplainSession>>& session,
                                  const ReceivedFrame& call, ServerLink& link) {
  if (!session.ok()) return session.status();
  ASSIGN_OR_RETURN(const v1::ExplainRequest request, ReadRequest(call));
  const RunControl control([&link] { return link.stop_requested(); }, [&link] { link.Tick(); });
  v1::ExplainResponse response;
  RETURN_IF_ERROR(engine::Explain(**session, request.spec(), control, response));
  return SealedMemory(response.SerializeAsString());
}

}  // namespace

v1::AttemptOutcome OutcomeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return v1::ATTEMPT_SUCCEEDED;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented:
      return v1::ATTEMPT_USER_ERROR;
    case absl::StatusCode::kDataLoss:
      return v1::ATTEMPT_DATA_ERROR;
    case absl::StatusCode::kOutOfRange:
      return v1::ATTEMPT_NUMERICAL;
    case absl::StatusCode::kResourceExhausted:
      return v1::ATTEMPT_OUT_OF_MEMORY;
    case absl::StatusCode::kAborted:
      return v1::ATTEMPT_DEVICE_FAULT;
    default:
      return v1::ATTEMPT_INTERNAL;
  }
}

absl::Status AnswerExplainCalls(ServerLink& link, const ModelInput& model,
                                const std::string& device) {
  const absl::StatusOr<std::unique_ptr<ExplainSession>> session =
      engine::OpenExplainSession(model, device);
  while (true) {
    const ReceivedFrame call = link.WaitForCall();
    const absl::StatusOr<Descriptor> answer = Answer(session, call, link);
    worker::v1::Frame frame;
    worker::v1::ExplainAnswer& said = *frame.mutable_explain_answer();
    said.set_id(call.frame.explain_call().id());
    if (answer.ok()) {
      link.Send(std::move(frame), {answer->get()});
      continue;
    }
    said.set_outcome(OutcomeOf(answer.status()));
    said.mutable_error()->set_code(static_cast<int>(answer.status().code()));
    said.mutable_error()->set_message(std::string(answer.status().message().substr(0, 4096)));
    link.Send(std::move(frame));
    if (absl::IsAborted(answer.status())) return answer.status();
  }
}

}  // namespace adamant
