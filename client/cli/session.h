// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <istream>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/settings.h"
#include "client/client.h"

namespace adamant {

// Options that every command accepts.
struct GlobalOptions {
  std::string server;
  std::string context;
  std::string output = "table";
  bool verbose = false;
  bool quiet = false;
  bool debug = false;
  bool yes = false;
  bool no_input = false;
  bool grpc_exit_codes = false;
};

// Where a command reads and writes. `bar_width` is the width of the terminal, 0 when stderr is none
// (or when TERM=dumb): then progress comes as lines.
struct Streams {
  std::ostream& out;
  std::ostream& err;
  int bar_width = 0;
  bool out_terminal = false;
  bool colour = false;         // on stderr; on stdout too when that is a terminal
  std::istream* in = nullptr;  // null: there is nobody to ask
};

// One run of the command line: options, streams, and the connection, made at its first use.
// Not thread-safe, except that Verbose is called by threads of the client.
class Session {
 public:
  Session(GlobalOptions options, Streams streams, Interrupt* interrupt);

  // Reads the output format, and unless `local` what the config file says; usage errors.
  absl::Status Prepare(bool local);
  absl::StatusOr<Client*> client();
  // A client of one's own that gives up soon; null when there can be none.
  std::unique_ptr<Client> HastyClient(absl::Duration patience) const;

  std::ostream& out() { return streams_.out; }
  std::ostream& err() { return streams_.err; }
  int bar_width() const { return options_.quiet ? 0 : streams_.bar_width; }
  bool out_terminal() const { return streams_.out_terminal; }
  bool out_colour() const {
    return streams_.colour && streams_.out_terminal && !json() && format_ != OutputFormat::kName;
  }
  bool err_colour() const { return streams_.colour; }
  OutputFormat format() const { return format_; }
  bool json() const {
    return format_ == OutputFormat::kJson || format_ == OutputFormat::kJsonLines;
  }
  const GlobalOptions& options() const { return options_; }
  const std::string& server() const { return connection_.settings.server; }
  // "" before the first call.
  std::string trace_id() const { return client_ == nullptr ? "" : client_->trace_id(); }
  Interrupt* interrupt() { return interrupt_; }

  // A line on stderr, unless --quiet.
  void Note(absl::string_view line);
  // A line on stderr with -v.
  void Verbose(absl::string_view line);
  // Asks `question` on a terminal. A usage error without a terminal or with --no-input, unless
  // --yes; FAILED_PRECONDITION after "no".
  absl::Status Confirm(absl::string_view question);

  // Writes the result: the envelope with `data`, or `text`, or `name`, as -o says.
  int Finish(const google::protobuf::Message& data, const std::string& text,
             const std::string& name, int exit_code = 0);
  int FinishJson(const std::string& data, const std::string& text, const std::string& name,
                 int exit_code = 0);
  // The same for a list: with -o jsonl one line for each of `rows`, then the envelope.
  template <typename Rows>
  int FinishRows(const google::protobuf::Message& all, const Rows& rows, const std::string& text,
                 const std::string& names) {
    if (format_ != OutputFormat::kJsonLines) return Finish(all, text, names);
    for (const auto& row : rows) streams_.out << MessageJson(row) << "\n";
    return FinishJson("", "", "");
  }

 private:
  ClientOptions MakeOptions() const;

  const GlobalOptions options_;
  Streams streams_;
  Interrupt* const interrupt_;
  Connection connection_;
  OutputFormat format_ = OutputFormat::kTable;
  std::unique_ptr<Client> client_;
};

}  // namespace adamant
