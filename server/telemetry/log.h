// SPDX-License-Identifier: Apache-2.0
// The log of the server on stderr: one line per RPC end, job transition, worker start and exit.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace adamant {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// One named value of a line, for the time of one statement: a text is borrowed. Texts are written
// as printable ASCII and cut at 200 bytes.
class LogField {
 public:
  LogField(absl::string_view name, absl::string_view value) : name_(name), text_(value) {}
  LogField(absl::string_view name, const std::string& value) : name_(name), text_(value) {}
  LogField(absl::string_view name, const char* value) : name_(name), text_(value) {}
  LogField(absl::string_view name, int64_t value);
  LogField(absl::string_view name, int value) : LogField(name, int64_t{value}) {}
  LogField(absl::string_view name, double value);

  absl::string_view name() const { return name_; }
  std::string value() const;  // printable ASCII

  // Appends the value as JSON.
  void AppendJson(std::string& line) const;

 private:
  absl::string_view name_;
  absl::string_view text_;
  std::string number_;      // empty for a text
  bool is_number_ = false;  // one that JSON can write
};

// `level` is debug, info, warning or error; `format` is auto (text on a terminal, else json), text
// or json. INVALID_ARGUMENT for anything else. Call once, before other threads log.
absl::Status SetUpLog(absl::string_view level, absl::string_view format);

// Writes one line when `level` is enabled. `event` is a word such as "rpc" or "job"; `message` is
// for people. Thread-safe.
void Log(LogLevel level, absl::string_view event, absl::string_view message,
         std::initializer_list<LogField> fields = {});

void FlushLog();

// Lines as `Log` writes them, for tests: for machines, and for people, without time and level and
// with empty fields left out. `time` is RFC 3339.
std::string JsonLine(absl::string_view time, LogLevel level, absl::string_view event,
                     absl::string_view message, std::initializer_list<LogField> fields);
std::string TextLine(absl::string_view event, absl::string_view message,
                     std::initializer_list<LogField> fields);

}  // namespace adamant
