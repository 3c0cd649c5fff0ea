// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace adamant {
namespace {

constexpr size_t kMaxTextBytes = 200;
constexpr size_t kUsualLineBytes = 512;

std::atomic<bool> json_lines{false};

spdlog::level::level_enum Level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    default:
      return spdlog::level::err;
  }
}

absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    default:
      return "error";
  }
}

std::string Printable(absl::string_view text) {
  return absl::CHexEscape(text.substr(0, kMaxTextBytes));
}

bool NeedsEscape(char c) { return c < ' ' || c > '~' || c == '"' || c == '\\' || c == '\''; }

// As a JSON string: what Printable makes of it, with backslashes doubled but before quotes.
void AppendText(absl::string_view text, std::string& line) {
  text = text.substr(0, kMaxTextBytes);
  line += '"';
  if (std::none_of(text.begin(), text.end(), NeedsEscape)) {
    line.append(text.data(), text.size());
  } else {
    line += absl::StrReplaceAll(Printable(text), {{"\\\"", "\\\""}, {"\\", "\\\\"}});
  }
  line += '"';
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    // Colours on a terminal only, and not where NO_COLOR asks for none.
    const char* const no_color = std::getenv("NO_COLOR");
    const bool plain = no_color != nullptr && *no_color != '\0';
    auto made = std::make_shared<spdlog::logger>(
        "adamantd", std::make_shared<spdlog::sinks::stderr_color_sink_mt>(
                        plain ? spdlog::color_mode::never : spdlog::color_mode::automatic));
    made->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
    made->flush_on(spdlog::level::warn);
    return made;
  }();
  return *logger;
}

}  // namespace

LogField::LogField(absl::string_view name, int64_t value)
    : name_(name), number_(absl::StrCat(value)), is_number_(true) {}

LogField::LogField(absl::string_view name, double value)
    : name_(name), number_(absl::StrCat(value)), is_number_(std::isfinite(value)) {}

std::string LogField::value() const { return number_.empty() ? Printable(text_) : number_; }

void LogField::AppendJson(std::string& line) const {
  if (is_number_) {
    line += number_;
  } else {
    AppendText(number_.empty() ? text_ : number_, line);
  }
}

absl::Status SetUpLog(absl::string_view level, absl::string_view format) {
  if (format != "auto" && format != "text" && format != "json") {
    return absl::InvalidArgumentError(
        absl::StrCat("log format \"", format, "\" is none of auto, text, json"));
  }
  for (const LogLevel known :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (LevelName(known) != level) continue;
    json_lines = format == "json" || (format == "auto" && isatty(STDERR_FILENO) == 0);
    Logger().set_level(Level(known));
    if (json_lines) Logger().set_pattern("%v");
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("log level \"", level, "\" is none of debug, info, warning, error"));
}

std::string JsonLine(absl::string_view time, LogLevel level, absl::string_view event,
                     absl::string_view message, std::initializer_list<LogField> fields) {
  std::string line;
  line.reserve(kUsualLineBytes);
  absl::StrAppend(&line, "{\"ts\":\"", time, "\",\"level\":\"", LevelName(level), "\",\"event\":\"",
                  event, "\",\"message\":");
  AppendText(message, line);
  for (const LogField& field : fields) {
    absl::StrAppend(&line, ",\"", field.name(), "\":");
    field.AppendJson(line);
  }
  line += '}';
  return line;
}

std::string TextLine(absl::string_view event, absl::string_view message,
                     std::initializer_list<LogField> fields) {
  std::string line = absl::StrFormat("%-8s %s", event, Printable(message));
  for (const LogField& field : fields) {
    const std::string value = field.value();
    if (value.empty()) continue;
    const bool words = absl::StrContains(value, ' ');
    absl::StrAppend(&line, " ", field.name(), words ? "=\"" : "=", value, words ? "\"" : "");
  }
  return line;
}

void Log(LogLevel level, absl::string_view event, absl::string_view message,
         std::initializer_list<LogField> fields) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(Level(level))) return;
  if (json_lines) {
    const std::string now =
        absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
    logger.log(Level(level), spdlog::string_view_t(JsonLine(now, level, event, message, fields)));
    return;
  }
  logger.log(Level(level), spdlog::string_view_t(TextLine(event, message, fields)));
}

void FlushLog() { Logger().flush(); }

}  // namespace adamant
