// SPDX-License-Identifier: Apache-2.0
// What models and datasets have in common: registered, then validated by a worker.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cli/session.h"

namespace adamant {

// Asks `get` until `resource` is no longer VALIDATING. RefusedError with the reason when it is
// REJECTED; CANCELLED after Ctrl-C.
template <typename Resource>
absl::StatusOr<Resource> WaitUntilReady(
    Session& session, Resource resource,
    const std::function<absl::StatusOr<Resource>(const std::string&)>& get) {
  Interrupt::Listen listen(session.interrupt());
  CancelToken none;
  CancelToken& token = listen.token() == nullptr ? none : *listen.token();
  absl::Duration pause = absl::Milliseconds(50);
  while (resource.state() == v1::VALIDATING) {
    if (!token.Sleep(pause)) {
      session.Note(absl::StrCat("\n", resource.name(), " goes on being validated"));
      return absl::CancelledError("interrupted");
    }
    pause = std::min(pause * 2, absl::Seconds(1));
    absl::StatusOr<Resource> now = get(resource.name());
    if (!now.ok()) return now.status();
    resource = *std::move(now);
  }
  if (resource.state() == v1::READY) return resource;
  return RefusedError(absl::StrCat(resource.name(), " was REJECTED: ", resource.state_message(),
                                   "; delete it before you add it again"));
}

// "KEY=VALUE" texts into a label map.
absl::Status ParseLabels(const std::vector<std::string>& texts,
                         google::protobuf::Map<std::string, std::string>& labels);

}  // namespace adamant
