// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/interactive_worker.h"

#include <cmath>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/error_reason.h"
#include "common/sealed_memory.h"
#include "common/status_macros.h"
#include "server/jobs/outcome.h"

namespace adamant {
namespace {

// What the worker may say of a request; anything else is a fault of the server's.
absl::Status ErrorOf(const worker::v1::ExplainAnswer& answer) {
  const std::string message = answer.error().message().substr(0, 1024);
  switch (static_cast<absl::StatusCode>(answer.error().code())) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kOutOfRange:
      return WithReason(absl::InvalidArgumentError(message), "INVALID_SPEC");
    case absl::StatusCode::kFailedPrecondition:
      return WithReason(absl::FailedPreconditionError(message), "MODEL_INCOMPATIBLE");
    case absl::StatusCode::kResourceExhausted:
      return WithReason(absl::ResourceExhaustedError(message), "MEMORY_FULL");
    default:
      return absl::InternalError(absl::StrCat("the worker failed: ", message));
  }
}

absl::Status CheckResponse(const v1::ExplainResponse& response, int images) {
  bool sound = response.images_size() == images && std::isfinite(response.compute_seconds());
  for (const v1::ExplainedImage& image : response.images()) {
    for (const v1::TopClass& top : image.top())
      sound = sound && std::isfinite(top.probability()) && std::isfinite(top.logit());
    for (const v1::ExplainMap& map : image.maps()) {
      const int64_t values = int64_t{map.height()} * map.width();
      sound = sound && map.height() >= 0 && map.width() >= 0 &&
              (map.raw().empty() || static_cast<int64_t>(map.raw().size()) == 4 * values);
    }
  }
  if (sound) return absl::OkStatus();
  return absl::InternalError("the worker's answer does not fit the request");
}

}  // namespace

absl::StatusOr<std::unique_ptr<InteractiveWorker>> InteractiveWorker::Start(
    WorkerPool& pool, const Slot& slot, StartPackage package, const WorkerLimits& limits) {
  ASSIGN_OR_RETURN(ReadyWorker ready, pool.Take());
  worker::v1::Frame frame;
  worker::v1::Start& start = *frame.mutable_start() = std::move(package.start);
  start.set_interactive(true);
  start.set_device(slot.device);
  start.set_threads(slot.threads);
  start.set_memory_limit_bytes(limits.resident_bytes);
  start.set_device_memory_fraction(limits.device_fraction);
  ready.process->LimitResident(limits.resident_bytes);
  RETURN_IF_ERROR(ready.process->Send(std::move(frame), package.descriptors()));
  return std::unique_ptr<InteractiveWorker>(new InteractiveWorker(std::move(ready.process)));
}

absl::Status InteractiveWorker::Lost(const WorkerNews& news) {
  usable_ = false;
  over_.killed = !news.error.ok();
  if (const auto status = process_->wait_status(); status.has_value())
    over_.outcome = EndOfSilentWorker(*status).outcome;
  if (absl::IsResourceExhausted(news.error)) over_.outcome = v1::ATTEMPT_OUT_OF_MEMORY;
  if (over_.outcome != v1::ATTEMPT_OUT_OF_MEMORY) {
    return WithReason(absl::UnavailableError("the worker of this model ended; try again"),
                      "WORKER_LOST");
  }
  return WithReason(
      absl::ResourceExhaustedError(
          "the explanation needs more memory than an interactive one may use; ask for less, or "
          "submit an explain job with the host_memory_bytes that it needs"),
      "MEMORY_FULL");
}

absl::Status InteractiveWorker::Send(const v1::ExplainRequest& request) {
  ASSIGN_OR_RETURN(const Descriptor file, SealedMemory(request.SerializeAsString()));
  worker::v1::Frame frame;
  frame.mutable_explain_call()->set_id(++calls_);
  return process_->Send(std::move(frame), {file.get()}).ok() ? absl::OkStatus()
                                                             : Lost({WorkerNews::kExited});
}

absl::StatusOr<v1::ExplainResponse> InteractiveWorker::Ask(const v1::ExplainRequest& request,
                                                           InteractiveCall& call,
                                                           absl::Time deadline,
                                                           absl::Duration grace) {
  RETURN_IF_ERROR(Send(request));
  call.RunsOn(process_.get());
  const absl::Cleanup forget = [&call] { call.RunsOn(nullptr); };
  return Await(call, deadline, grace, request.spec().images_size());
}

// After a stop the answer is awaited too, so that it is not taken for that of the next request.
absl::StatusOr<v1::ExplainResponse> InteractiveWorker::Await(InteractiveCall& call,
                                                             absl::Time deadline,
                                                             absl::Duration grace, int images) {
  absl::Status stopped;
  while (true) {
    if (stopped.ok()) {
      stopped = call.stop();
      if (stopped.ok() && absl::Now() >= deadline)
        stopped = absl::DeadlineExceededError("the explanation took too long; ask for less");
      if (!stopped.ok()) {
        worker::v1::Frame cancel;
        cancel.mutable_cancel()->set_grace_seconds(absl::ToDoubleSeconds(grace));
        process_->Send(std::move(cancel)).IgnoreError();
        deadline = absl::Now() + grace;
      }
    } else if (absl::Now() >= deadline) {
      usable_ = false;
      over_.killed = true;
      return stopped;
    }
    const WorkerNews news = process_->Next(deadline);
    if (news.kind == WorkerNews::kExited || news.kind == WorkerNews::kBroken) {
      const absl::Status lost = Lost(news);
      return stopped.ok() ? lost : stopped;
    }
    if (news.kind != WorkerNews::kFrame) continue;
    const worker::v1::Frame& frame = news.received.frame;
    process_->Acknowledge(frame.number());
    if (!frame.has_explain_answer() || frame.explain_answer().id() != calls_) continue;
    if (!stopped.ok()) return stopped;
    return Read(news.received, images);
  }
}

absl::StatusOr<v1::ExplainResponse> InteractiveWorker::Read(const ReceivedFrame& received,
                                                            int images) {
  const worker::v1::ExplainAnswer& answer = received.frame.explain_answer();
  if (answer.has_error()) {
    const v1::AttemptOutcome outcome = answer.outcome();
    usable_ = outcome == v1::ATTEMPT_USER_ERROR || outcome == v1::ATTEMPT_DATA_ERROR ||
              outcome == v1::ATTEMPT_NUMERICAL;
    if (!usable_) over_.outcome = CheckedOutcome(outcome);
    return ErrorOf(answer);
  }
  v1::ExplainResponse response;
  if (received.descriptors.size() != 1) return Lost({WorkerNews::kBroken});
  const auto view = OpenSealedMemory(received.descriptors[0].get(), kMaxResponseBytes);
  if (!view.ok() ||
      !response.ParseFromArray((*view)->bytes().data(), static_cast<int>((*view)->bytes().size())))
    return Lost({WorkerNews::kBroken});
  RETURN_IF_ERROR(CheckResponse(response, images));
  return response;
}

}  // namespace adamant
