// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/report_check.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace adamant {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

class Checker {
 public:
  explicit Checker(const absl::flat_hash_set<std::string>& published) : published_(published) {}

  absl::Status Check(const Message& message) const {
    if (const auto* blob = dynamic_cast<const v1::BlobRef*>(&message)) {
      if (blob->sha256().empty() || published_.contains(blob->sha256())) return absl::OkStatus();
      return absl::InvalidArgumentError(
          absl::StrCat("the report names blob ", blob->sha256(), ", which was not published"));
    }
    const Reflection& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
      for (int i = 0; i < count; ++i) RETURN_IF_ERROR(CheckField(message, reflection, field, i));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CheckField(const Message& message, const Reflection& reflection,
                          const FieldDescriptor* field, int i) const {
    const bool repeated = field->is_repeated();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      return Check(repeated ? reflection.GetRepeatedMessage(message, field, i)
                            : reflection.GetMessage(message, field));
    }
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE) return absl::OkStatus();
    const double value = repeated ? reflection.GetRepeatedDouble(message, field, i)
                                  : reflection.GetDouble(message, field);
    if (std::isfinite(value)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the report has a non-finite number in ", field->full_name()));
  }

  const absl::flat_hash_set<std::string>& published_;
};

v1::JobKind KindOfReport(const v1::JobReport& report) {
  switch (report.report_case()) {
    case v1::JobReport::kTrain:
      return v1::TRAIN;
    case v1::JobReport::kAttack:
      return v1::ATTACK;
    case v1::JobReport::kExplain:
      return v1::EXPLAIN;
    default:
      return v1::JOB_KIND_UNSPECIFIED;
  }
}

}  // namespace

absl::Status CheckReport(const v1::JobReport& report, v1::JobKind kind,
                         const absl::flat_hash_set<std::string>& published) {
  if (KindOfReport(report) != kind)
    return absl::InvalidArgumentError("the report is of another kind of job");
  return Checker(published).Check(report);
}

}  // namespace adamant
