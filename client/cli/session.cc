// SPDX-License-Identifier: Apache-2.0
#include "client/cli/session.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "common/status_macros.h"

namespace adamant {

Session::Session(GlobalOptions options, Streams streams, Interrupt* interrupt)
    : options_(std::move(options)), streams_(streams), interrupt_(interrupt) {
  const char* given = std::getenv("ADAMANT_SERVER");
  server_ = !options_.server.empty()               ? options_.server
            : given != nullptr && given[0] != '\0' ? given
                                                   : "127.0.0.1:50061";
}

absl::Status Session::Prepare() {
  ASSIGN_OR_RETURN(format_, ParseOutputFormat(options_.output));
  return absl::OkStatus();
}

absl::StatusOr<Client*> Session::client() {
  if (client_ != nullptr) return client_.get();
  ClientOptions options;
  if (options_.verbose) options.debug = [this](const std::string& line) { Verbose(line); };
  auto client = Client::Create(server_, options);
  if (!client.ok()) return UsageError(client.status().message());
  Verbose(absl::StrCat("server ", server_));
  client_ = *std::move(client);
  return client_.get();
}

void Session::Note(absl::string_view line) {
  if (!options_.quiet) streams_.err << absl::StrCat(line, "\n") << std::flush;
}

void Session::Verbose(absl::string_view line) {
  if (options_.verbose) streams_.err << absl::StrCat(line, "\n") << std::flush;
}

int Session::Finish(const google::protobuf::Message& data, const std::string& text,
                    const std::string& name, int exit_code) {
  if (json()) {
    streams_.out << Envelope(absl::OkStatus(), exit_code, MessageJson(data));
  } else if (format_ == OutputFormat::kName) {
    streams_.out << name << "\n";
  } else {
    streams_.out << text;
  }
  streams_.out << std::flush;
  return exit_code;
}

}  // namespace adamant
