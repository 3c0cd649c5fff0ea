// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/client.h"

namespace adamant {

// Options that every command accepts.
struct GlobalOptions {
  std::string server;  // empty: ADAMANT_SERVER, then 127.0.0.1:50061
  std::string output = "table";
  bool verbose = false;
  bool quiet = false;
  bool debug = false;
};

// Where a command writes. `bar_width` is the width of the terminal, 0 when stderr is none (or when
// TERM=dumb): then progress comes as lines.
struct Streams {
  std::ostream& out;
  std::ostream& err;
  int bar_width = 0;
};

// One run of the command line: options, streams, and the connection, made at its first use.
// Not thread-safe, except that Verbose is called by threads of the client.
class Session {
 public:
  Session(GlobalOptions options, Streams streams, Interrupt* interrupt);

  // Reads the output format; a usage error for an unknown one.
  absl::Status Prepare();
  absl::StatusOr<Client*> client();

  std::ostream& out() { return streams_.out; }
  std::ostream& err() { return streams_.err; }
  int bar_width() const { return options_.quiet ? 0 : streams_.bar_width; }
  OutputFormat format() const { return format_; }
  bool json() const {
    return format_ == OutputFormat::kJson || format_ == OutputFormat::kJsonLines;
  }
  const GlobalOptions& options() const { return options_; }
  const std::string& server() const { return server_; }
  Interrupt* interrupt() { return interrupt_; }

  // A line on stderr, unless --quiet.
  void Note(absl::string_view line);
  // A line on stderr with -v.
  void Verbose(absl::string_view line);

  // Writes the result: the envelope with `data`, or `text`, or `name`, as -o says.
  int Finish(const google::protobuf::Message& data, const std::string& text,
             const std::string& name, int exit_code = 0);

 private:
  const GlobalOptions options_;
  Streams streams_;
  Interrupt* const interrupt_;
  std::string server_;
  OutputFormat format_ = OutputFormat::kTable;
  std::unique_ptr<Client> client_;
};

}  // namespace adamant
