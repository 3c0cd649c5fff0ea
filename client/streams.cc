// SPDX-License-Identifier: Apache-2.0
// Watch and ReadLog: streams that resume where they broke.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/error.h"
#include "client/reconnect.h"
#include "client/stubs.h"
#include "common/status_macros.h"

namespace adamant {

struct Client::WatchState {
  int64_t cursor;         // ask for the events after this one
  int64_t delivered = 0;  // seq of the last durable event that the callback saw
  bool received = false;  // the current stream brought something
  bool resumed = false;   // it is not the first stream
  bool terminal = false;
};

grpc::Status Client::WatchOnce(const std::string& job, WatchState& state,
                               const std::function<void(const v1::JobEvent&)>& on_event,
                               CancelToken* cancel) {
  v1::WatchJobRequest request;
  request.set_name(job);
  request.set_from_seq(state.cursor);
  grpc::ClientContext context;
  headers_.AddTo(context);
  const CancelToken::Scope scope(cancel, &context);
  const auto stream = stubs_->jobs->WatchJob(&context, request);
  v1::JobEvent event;
  state.received = false;
  while (stream->Read(&event)) {
    state.received = true;
    if (event.type() == v1::GOING_AWAY) {
      Debug("the server says goodbye; the watch goes on when it is back");
      continue;
    }
    if (event.has_snapshot()) {
      const int64_t last = event.snapshot().last_event_seq();
      if (request.from_seq() == 0) {
        state.cursor = last;  // what happened before is in the snapshot
      } else if (state.resumed) {
        Debug(absl::StrCat("reconnected, replayed ", std::max<int64_t>(0, last - state.delivered),
                           " events"));
      }
    }
    // from_seq = 1 means "everything", so event 1 may come again. The terminal event is sent again
    // to whoever asks for what follows it.
    if (event.seq() > 0 && event.type() != v1::BOOKMARK && event.type() != v1::SNAPSHOT) {
      if (event.seq() <= state.delivered && !event.terminal()) continue;
      state.delivered = event.seq();
      state.cursor = std::max(state.cursor, event.seq());
    }
    state.terminal = state.terminal || event.terminal();
    on_event(event);
  }
  return stream->Finish();
}

absl::Status Client::Watch(const std::string& job, int64_t from_seq,
                           const std::function<void(const v1::JobEvent&)>& on_event,
                           CancelToken* cancel) {
  WatchState state{.cursor = from_seq};
  if (from_seq > 1) state.delivered = from_seq;
  Reconnect reconnect(*this, cancel, "the watch");
  while (true) {
    const grpc::Status status = WatchOnce(job, state, on_event, cancel);
    if (state.terminal) return absl::OkStatus();
    if (status.ok()) {
      return absl::DataLossError(absl::StrCat("the server ended the watch of ", job,
                                              " before the job ended; what happened since event ",
                                              state.cursor, " is unknown"));
    }
    if (state.received) reconnect.Progress();
    state.resumed = true;
    const absl::Status broken = FromGrpcStatus(status);
    if (DecodeError(broken).reason == "EVENTS_COMPACTED" && state.cursor > 0) {
      Debug("the events asked for are gone; the watch goes on from a snapshot");
      state.cursor = 0;
      continue;
    }
    if (absl::Status next = reconnect.Next(broken); !next.ok()) return next;
  }
}

absl::Status Client::ReadLog(v1::ReadLogRequest request, const LogSink& on_bytes,
                             CancelToken* cancel) {
  Reconnect reconnect(*this, cancel, "the log");
  const int64_t limit = request.limit_bytes();
  int64_t received = 0;
  while (true) {
    grpc::ClientContext context;
    headers_.AddTo(context);
    const CancelToken::Scope scope(cancel, &context);
    const auto stream = stubs_->jobs->ReadLog(&context, request);
    v1::ReadLogResponse response;
    while (stream->Read(&response)) {
      on_bytes(response.offset(), response.data());
      reconnect.Progress();
      received += static_cast<int64_t>(response.data().size());
      request.set_offset(response.offset() + static_cast<int64_t>(response.data().size()));
      request.clear_tail_lines();  // from here on the offset says where to go on
      if (limit > 0) request.set_limit_bytes(std::max<int64_t>(limit - received, 1));
    }
    const grpc::Status status = stream->Finish();
    if (limit > 0 && received >= limit) return absl::OkStatus();
    if (status.ok()) return request.follow() ? CheckEnded(request.name()) : absl::OkStatus();
    if (absl::Status next = reconnect.Next(FromGrpcStatus(status)); !next.ok()) return next;
  }
}

absl::Status Client::CheckEnded(const std::string& job) {
  ASSIGN_OR_RETURN(const v1::Job now, GetJob(job));
  if (HasEnded(now.state())) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the server ended the log of ", job, " before the job ended"));
}

}  // namespace adamant
