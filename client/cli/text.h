// SPDX-License-Identifier: Apache-2.0
// How values read on the screen.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

std::string PercentText(double ratio);  // "93.20 %"
// "93.20 % (932 of 1000; 95 % interval 91.47..94.60)"; "-" without samples.
std::string AccuracyText(const v1::Accuracy& accuracy, double confidence_level = 0.95);
std::string ShortAccuracy(const v1::Accuracy& accuracy);        // "93.20 %", "-" without samples
std::string BytesText(int64_t bytes);                           // "1.5 MiB"
std::string SecondsText(double seconds);                        // "4.2 s", "3:05", "1:02:03"
std::string NumberText(double value);                           // up to 4 significant digits
std::string CountText(int64_t value);                           // "12 345 678"
std::string TimeText(const google::protobuf::Timestamp& time);  // local; "" when unset
std::string ShortDigest(absl::string_view sha256);              // the first 12 digits

// `RUNNING`, green, yellow or red with `colour`.
std::string StateText(v1::JobState state, bool colour);

std::string VerdictName(const v1::AttackReport& report);  // "TRUSTED", .., "UNCHECKED"

// `pgd(steps=40, step_size=0.01)`.
std::string PluginText(const v1::PluginSpec& plugin);
std::string ThreatText(const v1::ThreatModel& threat);  // "linf 8/255"
std::string EpsilonText(const v1::ThreatModel& threat);
std::string SourceText(const v1::ModelSource& model);
std::string SourceText(const v1::DataSource& data);

}  // namespace adamant
