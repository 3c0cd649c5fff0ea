// SPDX-License-Identifier: Apache-2.0
#include "server/api/spec_checker.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/blob_name.h"
#include "common/error_reason.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr int kMaxLabels = 32;
constexpr size_t kMaxLabelKey = 63;
constexpr size_t kMaxLabelValue = 255;
constexpr int kMaxSampleIds = 100000;
constexpr int kMinPriority = -100;
constexpr int kMaxPriority = 100;
constexpr int kMaxAttempts = 100;
constexpr double kMaxMemoryBytes = 1LL << 50;
constexpr size_t kMaxTextBytes = 4096;
constexpr int64_t kHour = 3600;
constexpr int64_t kTenYears = int64_t{10} * 365 * 24 * kHour;

bool IsResourceId(absl::string_view id) {
  if (id.empty() || id.size() > 63 || !absl::ascii_islower(id[0])) return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  });
}

bool IsUuid4(absl::string_view text) {
  return IsUuid(text) && text[14] == '4' && absl::StrContains("89abAB", text.substr(19, 1));
}

std::string NormName(v1::Norm norm) { return absl::AsciiStrToLower(v1::Norm_Name(norm)); }

}  // namespace

void SpecChecker::CheckSpec(v1::JobSpec& spec) {
  CheckTexts("spec", spec);
  switch (spec.spec_case()) {
    case v1::JobSpec::kTrain:
      return CheckTrain(*spec.mutable_train());
    case v1::JobSpec::kAttack:
      return CheckAttack(*spec.mutable_attack());
    case v1::JobSpec::kExplain:
      return CheckExplain(*spec.mutable_explain());
    default:
      Bad("spec", "is missing");
  }
}

void SpecChecker::CheckOptions(v1::SubmitOptions& options, bool admin) {
  if (!options.request_id().empty() && !IsUuid4(options.request_id()))
    Bad("options.request_id", "must be a version 4 UUID of 36 characters");
  CheckDisplayName("options.display_name", options.display_name());
  CheckLabels("options.labels", options.labels());
  Range("options.priority", options.priority(), kMinPriority, kMaxPriority);
  if (options.priority() < 0 && options.priority() >= kMinPriority && !admin)
    Bad("options.priority", "below 0 acts on the jobs of all tenants and needs the role admin");
  if (options.has_max_run_time())
    CheckDuration("options.max_run_time", options.max_run_time(), 1, kTenYears);
  if (options.has_queue_timeout())
    CheckDuration("options.queue_timeout", options.queue_timeout(), 1, kTenYears);
  if (!options.has_retention()) options.mutable_retention()->set_seconds(30 * 24 * kHour);
  CheckDuration("options.retention", options.retention(), kHour, kTenYears);
  CheckRetryPolicy(*options.mutable_retry_policy());
  CheckResources(*options.mutable_resources());
  if (options.cache() == v1::CACHE_MODE_UNSPECIFIED) options.set_cache(v1::CACHE_SKIP);
  if (!v1::CacheMode_IsValid(options.cache()))
    Bad("options.cache", "must be CACHE_SKIP, CACHE_USE or CACHE_REFRESH");
}

void SpecChecker::CheckRetryPolicy(v1::RetryPolicy& retry) {
  if (!retry.has_max_attempts()) retry.set_max_attempts(3);
  Range("options.retry_policy.max_attempts", retry.max_attempts(), 1, kMaxAttempts);
  constexpr v1::StateReason kClasses[] = {v1::OUT_OF_MEMORY, v1::DEVICE_FAULT, v1::WORKER_LOST};
  if (retry.classes().empty()) {
    for (const v1::StateReason reason : kClasses) retry.add_classes(reason);
  }
  std::set<int> seen;
  for (int i = 0; i < retry.classes_size(); ++i) {
    const v1::StateReason reason = retry.classes(i);
    const std::string field = absl::StrCat("options.retry_policy.classes[", i, "]");
    if (std::count(std::begin(kClasses), std::end(kClasses), reason) == 0)
      Bad(field, "must be OUT_OF_MEMORY, DEVICE_FAULT or WORKER_LOST");
    if (!seen.insert(reason).second) Bad(field, "is named twice");
  }
}

void SpecChecker::CheckResources(v1::Resources& resources) {
  if (resources.slots() == 0) resources.set_slots(1);
  Range("options.resources.slots", resources.slots(), 1, 1);
  if (resources.cpu_threads() != 0)
    NotServed("options.resources.cpu_threads", "a thread request (--threads-per-slot decides)");
  Range("options.resources.gpus", resources.gpus(), 0, 1);
  const bool has_gpu =
      std::any_of(catalog_.devices().begin(), catalog_.devices().end(),
                  [](const v1::Device& device) { return device.kind() == "cuda"; });
  if (resources.gpus() == 1 && !has_gpu)
    Bad("options.resources.gpus", "is 1, but this server has no GPU");
  Range("options.resources.host_memory_bytes", static_cast<double>(resources.host_memory_bytes()),
        0, kMaxMemoryBytes);
  Range("options.resources.gpu_memory_bytes", static_cast<double>(resources.gpu_memory_bytes()), 0,
        kMaxMemoryBytes);
}

void SpecChecker::CheckDuration(const std::string& field,
                                const google::protobuf::Duration& duration, double low,
                                double high) {
  const double seconds = static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
  if (std::abs(duration.nanos()) > 999999999 || (duration.seconds() > 0 && duration.nanos() < 0)) {
    Bad(field, "is not a duration");
  } else if (!(seconds >= low && seconds <= high)) {
    Bad(field, absl::StrCat("is ", seconds, " s, outside [", low, " s, ", high, " s]"));
  }
}

void SpecChecker::CheckTexts(const std::string& field, const google::protobuf::Message& message) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* one : fields) {
    const std::string name = absl::StrCat(field, ".", one->name());
    const int count = one->is_repeated() ? reflection.FieldSize(message, one) : 1;
    const bool is_text = one->type() == FieldDescriptor::TYPE_STRING;
    const bool is_message = one->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    for (int i = 0; (is_text || is_message) && i < count; ++i) {
      const std::string where = one->is_repeated() ? absl::StrCat(name, "[", i, "]") : name;
      if (is_message) {
        CheckTexts(where, one->is_repeated() ? reflection.GetRepeatedMessage(message, one, i)
                                             : reflection.GetMessage(message, one));
        continue;
      }
      std::string scratch;
      const std::string& text =
          one->is_repeated() ? reflection.GetRepeatedStringReference(message, one, i, &scratch)
                             : reflection.GetStringReference(message, one, &scratch);
      if (text.size() > kMaxTextBytes)
        Bad(where, absl::StrCat("has ", text.size(), " bytes; at most ", kMaxTextBytes));
    }
  }
}

void SpecChecker::CheckPlugin(const std::string& field, absl::string_view family,
                              v1::PluginSpec& spec) {
  spec = NormalizePluginSpec(spec, Family(family), field, violations_);
}

void SpecChecker::CheckResourceId(const std::string& field, absl::string_view id) {
  if (!IsResourceId(id)) {
    Bad(field, absl::StrCat("\"", id.substr(0, 80),
                            "\" is not an id: a lower-case letter, then up to 62 lower-case "
                            "letters, digits and dashes"));
  }
}

void SpecChecker::CheckResourceName(const std::string& field, absl::string_view collection,
                                    absl::string_view name) {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, absl::StrCat(collection, "/")) || !IsResourceId(id))
    Bad(field, absl::StrCat("\"", name.substr(0, 80), "\" is not of the form ", collection,
                            "/ID, where an ID is a lower-case letter, then lower-case letters, "
                            "digits and dashes"));
}

void SpecChecker::CheckLabels(const std::string& field,
                              const google::protobuf::Map<std::string, std::string>& labels) {
  if (labels.size() > kMaxLabels)
    Bad(field, absl::StrCat("has ", labels.size(), " labels; at most ", kMaxLabels));
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelKey || value.size() > kMaxLabelValue) {
      Bad(field, absl::StrCat("label \"", key.substr(0, kMaxLabelKey),
                              "\": a key has 1 to 63 bytes, a value at most 255"));
    }
  }
}

void SpecChecker::CheckDisplayName(const std::string& field, absl::string_view name) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("._ -", absl::string_view(&c, 1));
  };
  if (name.empty()) return;
  if (name.size() > 63 || !absl::ascii_isalnum(name[0]) ||
      !std::all_of(name.begin(), name.end(), allowed)) {
    Bad(field,
        "must be a letter or digit, then up to 62 letters, digits, dots, underscores, "
        "spaces and dashes");
  }
}

void SpecChecker::CheckBlob(const std::string& field, const v1::BlobRef& blob) {
  if (absl::Status status = CheckBlobRef(blob); !status.ok())
    Bad(field, std::string(status.message()), ReasonOf(status));
}

void SpecChecker::CheckModelSource(const std::string& field, v1::ModelSource& source,
                                   bool training) {
  switch (source.source_case()) {
    case v1::ModelSource::kModel:
      return CheckResourceName(absl::StrCat(field, ".model"), "models", source.model());
    case v1::ModelSource::kArchitecture:
      if (!training)
        Bad(absl::StrCat(field, ".architecture"),
            "fresh weights can only be trained; name a model, weights or a checkpoint");
      return CheckPlugin(absl::StrCat(field, ".architecture"), "model",
                         *source.mutable_architecture());
    case v1::ModelSource::kWeights:
      CheckBlob(absl::StrCat(field, ".weights.blob"), source.weights().blob());
      if (source.weights().has_architecture())
        CheckPlugin(absl::StrCat(field, ".weights.architecture"), "model",
                    *source.mutable_weights()->mutable_architecture());
      return;
    case v1::ModelSource::kCheckpoint:
      if (!JobUid(source.checkpoint().job()).ok())
        Bad(absl::StrCat(field, ".checkpoint.job"), "must be jobs/UID");
      if (source.checkpoint().has_step() && source.checkpoint().step() < 0)
        Bad(absl::StrCat(field, ".checkpoint.step"), "must not be negative");
      return;
    default:
      Bad(field, absl::StrCat("is missing: name a model", training ? ", an architecture" : "",
                              ", weights or a checkpoint"));
  }
}

void SpecChecker::CheckDataSource(const std::string& field, v1::DataSource& source,
                                  absl::string_view default_split) {
  if (source.source_case() == v1::DataSource::kDataset) {
    CheckResourceName(absl::StrCat(field, ".dataset"), "datasets", source.dataset());
  } else if (source.source_case() == v1::DataSource::kBuiltin) {
    const std::string builtin = absl::StrCat(field, ".builtin");
    const v1::PluginInfo* reader = FindPlugin(Family("dataset"), source.builtin().name());
    CheckPlugin(builtin, "dataset", *source.mutable_builtin());
    if (reader != nullptr && !HasTrait(reader, "no_files")) {
      Bad(absl::StrCat(builtin, ".name"),
          absl::StrCat("reader \"", reader->name(),
                       "\" needs files: register them as a dataset and name that"));
    }
  } else {
    Bad(field, "is missing: name a dataset or a built-in reader");
  }
  if (source.split().empty()) source.set_split(std::string(default_split));
  if (source.split().size() > 63) Bad(absl::StrCat(field, ".split"), "is longer than 63 bytes");
  if (source.begin() < 0 || source.end() < 0)
    Bad(field, "begin and end must not be negative");
  else if (source.end() != 0 && source.end() <= source.begin())
    Bad(absl::StrCat(field, ".end"),
        absl::StrCat("selects no sample: begin is ", source.begin(), ", end is ", source.end()));
  if (source.sample_ids_size() == 0) return;
  if (source.begin() != 0 || source.end() != 0)
    Bad(absl::StrCat(field, ".sample_ids"), "replaces begin and end; give one of the two");
  if (source.sample_ids_size() > kMaxSampleIds)
    Bad(absl::StrCat(field, ".sample_ids"), absl::StrCat("has more than ", kMaxSampleIds));
  std::vector<int64_t> ids(source.sample_ids().begin(), source.sample_ids().end());
  std::sort(ids.begin(), ids.end());
  if (ids.front() < 0) Bad(absl::StrCat(field, ".sample_ids"), "holds a negative id");
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
    Bad(absl::StrCat(field, ".sample_ids"), "names a sample twice");
}

void SpecChecker::CheckEpsilon(const std::string& field, v1::Norm norm, double epsilon) {
  if (!std::isfinite(epsilon) || epsilon < 0) {
    Bad(field, absl::StrCat("is ", epsilon, "; epsilon is a finite number >= 0"));
  } else if (norm == v1::LINF && epsilon > 1) {
    Bad(field, absl::StrCat("is ", epsilon,
                            ", outside [0, 1]: LINF epsilon is on the [0,1] pixel scale, write "
                            "8/255 for 8 grey levels"));
  } else if (norm == v1::L0 && epsilon != std::floor(epsilon)) {
    Bad(field, absl::StrCat("is ", epsilon, "; L0 epsilon is a number of pixels"));
  }
}

void SpecChecker::CheckThreat(const std::string& field, v1::ThreatModel& threat) {
  if (threat.norm() == v1::NORM_UNSPECIFIED || !v1::Norm_IsValid(threat.norm())) {
    Bad(absl::StrCat(field, ".norm"), "must be LINF, L2, L1 or L0");
  }
  if (!threat.epsilon_text().empty()) {
    const absl::StatusOr<double> parsed = ParseNumber(threat.epsilon_text());
    if (!parsed.ok()) {
      Bad(absl::StrCat(field, ".epsilon_text"), std::string(parsed.status().message()));
    } else if (threat.epsilon() == 0) {
      threat.set_epsilon(*parsed);
    } else if (std::abs(*parsed - threat.epsilon()) > 1e-9 * std::max(1.0, threat.epsilon())) {
      Bad(absl::StrCat(field, ".epsilon_text"),
          absl::StrCat("says ", threat.epsilon_text(), ", but epsilon is ", threat.epsilon()));
    }
  }
  CheckEpsilon(absl::StrCat(field, ".epsilon"), threat.norm(), threat.epsilon());
  if (!threat.has_clip_max()) threat.set_clip_max(1);
  if (!(threat.clip_min() >= 0 && threat.clip_min() < threat.clip_max() && threat.clip_max() <= 1))
    Bad(absl::StrCat(field, ".clip_min"), "must have 0 <= clip_min < clip_max <= 1");
}

void SpecChecker::CheckAttackChoice(const std::string& field, v1::PluginSpec& attack,
                                    v1::ThreatModel& threat, bool inner) {
  const v1::PluginInfo* plugin = FindPlugin(Family("attack"), attack.name());
  CheckPlugin(absl::StrCat(field, "attack"), "attack", attack);
  if (!inner && HasTrait(plugin, "no_ball")) {
    if (threat.norm() != v1::NORM_UNSPECIFIED)
      Bad(absl::StrCat(field, "threat.norm"),
          absl::StrCat("attack \"", plugin->name(),
                       "\" has a budget of its own and takes no threat model; leave it out"));
    return;
  }
  CheckThreat(absl::StrCat(field, "threat"), threat);
  if (plugin == nullptr) return;
  if (inner && !HasTrait(plugin, "inner_ok")) {
    std::vector<std::string> known;
    for (const v1::PluginInfo& other : Family("attack").plugins()) {
      if (HasTrait(&other, "inner_ok")) known.push_back(other.name());
    }
    Bad(absl::StrCat(field, "attack.name"),
        absl::StrCat("attack \"", plugin->name(),
                     "\" cannot run inside training; these can: ", absl::StrJoin(known, ", ")));
  }
  const std::string norm = NormName(threat.norm());
  const bool supported =
      plugin->norms().empty() ||
      std::find(plugin->norms().begin(), plugin->norms().end(), norm) != plugin->norms().end();
  if (threat.norm() != v1::NORM_UNSPECIFIED && !supported) {
    Bad(absl::StrCat(field, "threat.norm"),
        absl::StrCat("attack \"", plugin->name(), "\" does not support ", norm, "; it supports ",
                     absl::StrJoin(plugin->norms(), ", ")));
  }
}

void SpecChecker::CheckEntry(const std::string& field, v1::AttackEntry& entry) {
  if (!entry.epsilons().empty() && entry.threat().epsilon() == 0 &&
      entry.threat().epsilon_text().empty()) {
    entry.mutable_threat()->set_epsilon(entry.epsilons(entry.epsilons_size() - 1));
  }
  CheckAttackChoice(absl::StrCat(field, "."), *entry.mutable_attack(), *entry.mutable_threat(),
                    /*inner=*/false);
  if (entry.epsilons_size() > 256) Bad(absl::StrCat(field, ".epsilons"), "has more than 256");
  for (int i = 0; i < entry.epsilons_size(); ++i) {
    const std::string where = absl::StrCat(field, ".epsilons[", i, "]");
    CheckEpsilon(where, entry.threat().norm(), entry.epsilons(i));
    if (i > 0 && !(entry.epsilons(i) > entry.epsilons(i - 1))) Bad(where, "must be ascending");
  }
}

void SpecChecker::CheckAnalyses(const std::string& field,
                                google::protobuf::RepeatedPtrField<v1::PluginSpec>& analyses) {
  for (int i = 0; i < analyses.size(); ++i)
    CheckPlugin(absl::StrCat(field, "[", i, "]"), "analysis", *analyses.Mutable(i));
}

void SpecChecker::Range(const std::string& field, double value, double low, double high) {
  if (!(value >= low && value <= high))
    Bad(field, absl::StrCat("is ", value, ", outside [", low, ", ", high, "]"));
}

void SpecChecker::NotServed(const std::string& field, absl::string_view what) {
  Bad(field, absl::StrCat(what, " is not served by this release; leave the field out"));
}

const v1::PluginFamily& SpecChecker::Family(absl::string_view name) const {
  for (const v1::PluginFamily& family : catalog_.families()) {
    if (family.name() == name) return family;
  }
  return v1::PluginFamily::default_instance();
}

}  // namespace adamant
