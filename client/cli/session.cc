// SPDX-License-Identifier: Apache-2.0
#include "client/cli/session.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "common/status_macros.h"

namespace adamant {

Session::Session(GlobalOptions options, Streams streams, Interrupt* interrupt)
    : options_(std::move(options)), streams_(streams), interrupt_(interrupt) {}

absl::Status Session::Prepare(bool local) {
  ASSIGN_OR_RETURN(format_, ParseOutputFormat(options_.output));
  if (local) return absl::OkStatus();
  ASSIGN_OR_RETURN(connection_, ResolveConnection(options_.server, options_.context));
  return absl::OkStatus();
}

ClientOptions Session::MakeOptions() const {
  ClientOptions options;
  options.token_file = connection_.settings.token_file;
  options.tls_ca = connection_.settings.tls_ca;
  options.tls_cert = connection_.settings.tls_cert;
  options.tls_key = connection_.settings.tls_key;
  return options;
}

std::unique_ptr<Client> Session::HastyClient(absl::Duration patience) const {
  ClientOptions options = MakeOptions();
  options.unary_deadline = patience;
  auto client = Client::Create(server(), options);
  return client.ok() ? *std::move(client) : nullptr;
}

absl::StatusOr<Client*> Session::client() {
  if (client_ != nullptr) return client_.get();
  const ContextSettings& settings = connection_.settings;
  ClientOptions options = MakeOptions();
  if (options_.verbose) options.debug = [this](const std::string& line) { Verbose(line); };
  auto client = Client::Create(settings.server, options);
  if (!client.ok()) {
    return UsageError(absl::StrCat(client.status().message(),
                                   "; `adamant help environment` says where it was named"));
  }
  client_ = *std::move(client);
  if (!options_.verbose) return client_.get();
  Verbose(absl::StrCat("server ", settings.server, " (", connection_.server_from, ")",
                       settings.token_file.empty() ? "" : ", with a token"));
  if (const auto status = client_->GetServerStatus(); status.ok() && !status->tenant().empty()) {
    Verbose(absl::StrCat("tenant ", status->tenant()));
  }
  return client_.get();
}

void Session::Note(absl::string_view line) {
  if (!options_.quiet) streams_.err << absl::StrCat(line, "\n") << std::flush;
}

void Session::Verbose(absl::string_view line) {
  if (options_.verbose) streams_.err << absl::StrCat(line, "\n") << std::flush;
}

absl::Status Session::Confirm(absl::string_view question) {
  if (options_.yes) return absl::OkStatus();
  if (streams_.in == nullptr || options_.no_input) {
    return UsageError(absl::StrCat(question, " Nobody can be asked here; give --yes to do it"));
  }
  streams_.err << absl::StrCat(question, " [y/N] ") << std::flush;
  std::string answer;
  std::getline(*streams_.in, answer);
  answer = absl::AsciiStrToLower(absl::StripAsciiWhitespace(answer));
  if (answer == "y" || answer == "yes") return absl::OkStatus();
  return absl::FailedPreconditionError("it was not confirmed; nothing was done");
}

int Session::Finish(const google::protobuf::Message& data, const std::string& text,
                    const std::string& name, int exit_code) {
  return FinishJson(json() ? MessageJson(data) : "", text, name, exit_code);
}

int Session::FinishJson(const std::string& data, const std::string& text, const std::string& name,
                        int exit_code) {
  if (json()) {
    streams_.out << Envelope(absl::OkStatus(), exit_code, data,
                             format_ == OutputFormat::kJsonLines);
  } else if (format_ == OutputFormat::kName) {
    if (!name.empty()) streams_.out << name << "\n";
  } else {
    streams_.out << text;
  }
  streams_.out << std::flush;
  return exit_code;
}

}  // namespace adamant
