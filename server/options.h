// SPDX-License-Identifier: Apache-2.0
// Flags and configuration file of adamantd.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/system.pb.h"

namespace adamant {

struct Options {
  enum class Action { kServe, kCheck, kPrintConfig, kVersion, kHelp };
  Action action = Action::kServe;
  v1::ServerConfig config;  // complete: every default filled in
  std::string help;         // with kHelp
};

// Flags override the file of --config, which overrides the defaults. INVALID_ARGUMENT with what to
// change for an unknown flag or field, a value out of range, or a missing --data-dir. The reason is
// PUBLIC_WITHOUT_TLS when an address may be reached from outside.
absl::StatusOr<Options> ParseOptions(int argc, const char* const* argv);

// The bind policy of a server without TLS and without authentication: loopback addresses and Unix
// sockets only. INVALID_ARGUMENT / PUBLIC_WITHOUT_TLS for any other, INVALID_ARGUMENT for a
// malformed address. Accepts host:port, [ipv6]:port, unix:path.
absl::Status CheckListenAddress(absl::string_view address);

}  // namespace adamant
