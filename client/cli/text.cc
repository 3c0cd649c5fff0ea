// SPDX-License-Identifier: Apache-2.0
#include "client/cli/text.h"

#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/client.h"

namespace adamant {
namespace {

std::string ValueText(const google::protobuf::Value& value) {
  switch (value.kind_case()) {
    case google::protobuf::Value::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case google::protobuf::Value::kNumberValue:
      return absl::StrCat(value.number_value());
    case google::protobuf::Value::kStringValue:
      return value.string_value();
    case google::protobuf::Value::kListValue:
      return absl::StrCat("[",
                          absl::StrJoin(value.list_value().values(), ", ",
                                        [](std::string* out, const google::protobuf::Value& v) {
                                          out->append(ValueText(v));
                                        }),
                          "]");
    default:
      return "null";
  }
}

}  // namespace

std::string PercentText(double ratio) { return absl::StrFormat("%.2f %%", 100 * ratio); }

std::string AccuracyText(const v1::Accuracy& accuracy, double confidence_level) {
  if (accuracy.total() == 0) return "-";
  return absl::StrFormat("%.2f %% (%d of %d; %g %% interval %.2f..%.2f)", 100 * accuracy.ratio(),
                         accuracy.correct(), accuracy.total(), 100 * confidence_level,
                         100 * accuracy.low(), 100 * accuracy.high());
}

std::string ShortAccuracy(const v1::Accuracy& accuracy) {
  return accuracy.total() == 0 ? "-" : PercentText(accuracy.ratio());
}

std::string BytesText(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return absl::StrFormat("%.1f %s", value, unit);
}

std::string SecondsText(double seconds) {
  if (seconds < 60) return absl::StrFormat("%.1f s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string NumberText(double value) { return absl::StrFormat("%.4g", value); }

std::string CountText(int64_t value) {
  std::string digits = absl::StrCat(value);
  const int64_t first = digits[0] == '-' ? 1 : 0;
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<size_t>(at), 1, ' ');
  }
  return digits;
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

std::string ShortDigest(absl::string_view sha256) { return std::string(sha256.substr(0, 12)); }

std::string StateText(v1::JobState state, bool colour) {
  const std::string name = v1::JobState_Name(state);
  if (!colour) return name;
  const char* code = state == v1::SUCCEEDED ? "32" : state == v1::FAILED ? "31" : "33";
  return absl::StrCat("\033[", code, "m", name, "\033[0m");
}

std::string VerdictName(const v1::AttackReport& report) {
  return report.verdict() == v1::VERDICT_UNSPECIFIED ? "UNCHECKED"
                                                     : v1::Verdict_Name(report.verdict());
}

std::string PluginText(const v1::PluginSpec& plugin) {
  if (plugin.params().fields().empty()) return plugin.name();
  const std::map<std::string, google::protobuf::Value> sorted(plugin.params().fields().begin(),
                                                              plugin.params().fields().end());
  return absl::StrCat(plugin.name(), "(",
                      absl::StrJoin(sorted, ", ",
                                    [](std::string* out, const auto& entry) {
                                      absl::StrAppend(out, entry.first, "=",
                                                      ValueText(entry.second));
                                    }),
                      ")");
}

std::string EpsilonText(const v1::ThreatModel& threat) {
  return threat.epsilon_text().empty() ? absl::StrCat(threat.epsilon()) : threat.epsilon_text();
}

std::string ThreatText(const v1::ThreatModel& threat) {
  if (threat.norm() == v1::NORM_UNSPECIFIED) return "";
  return absl::StrCat(absl::AsciiStrToLower(v1::Norm_Name(threat.norm())), " ",
                      EpsilonText(threat));
}

std::string SourceText(const v1::ModelSource& model) {
  switch (model.source_case()) {
    case v1::ModelSource::kModel:
      return model.model();
    case v1::ModelSource::kArchitecture:
      return PluginText(model.architecture());
    case v1::ModelSource::kWeights:
      return BlobName(model.weights().blob());
    case v1::ModelSource::kCheckpoint:
      return model.checkpoint().job();
    default:
      return "";
  }
}

std::string SourceText(const v1::DataSource& data) {
  const std::string source = data.has_dataset() ? data.dataset() : PluginText(data.builtin());
  return data.split().empty() ? source : absl::StrCat(source, ", split ", data.split());
}

}  // namespace adamant
