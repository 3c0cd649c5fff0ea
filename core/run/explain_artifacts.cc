// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain_artifacts.h"

#include <charconv>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/version.h"
#include "core/base/canonical_json.h"
#include "core/base/torch.h"
#include "core/models/safetensors.h"

namespace adamant {
namespace {

std::string Number(double value) {
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

std::string Field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::vector<const MapRecord*> Finite(const MapColumn& column) {
  std::vector<const MapRecord*> records;
  for (const MapRecord& record : column.records) {
    if (!record.failed) records.push_back(&record);
  }
  return records;
}

// One value of every record as a tensor [N] of type `dtype`.
template <class Get>
at::Tensor Values(const std::vector<const MapRecord*>& records, at::ScalarType dtype, Get get) {
  at::Tensor values = torch::empty({static_cast<int64_t>(records.size())}, dtype);
  for (size_t i = 0; i < records.size(); ++i) values[static_cast<int64_t>(i)] = get(*records[i]);
  return values;
}

std::map<std::string, std::string> Metadata(const MapColumn& column, const ExplainPlan& plan,
                                            const ExplainFacts& facts) {
  const ModelShape& shape = facts.shape;
  return {{"schema", "adamant.maps/1"},
          {"model_digest", facts.model_digest},
          {"dataset_digest", facts.data_digest},
          {"explainer", CanonicalJson(column.spec)},
          {"layer", column.layer},
          {"score", plan.score_name},
          {"target", plan.target_name},
          {"image_shape", absl::StrCat(shape.channels, ",", shape.height, ",", shape.width)},
          {"upsampling", plan.upsampling == Upsampling::kNearest ? "nearest" : "bilinear"},
          {"seed", absl::StrCat(plan.seed)},
          {"program_version", kVersion}};
}

}  // namespace

std::string ExplainFacts::ClassName(int64_t index) const {
  if (index < static_cast<int64_t>(class_names.size())) {
    return class_names[static_cast<size_t>(index)];
  }
  return absl::StrCat("class ", index);
}

std::string MapsFile(const MapColumn& column, const ExplainPlan& plan, const ExplainFacts& facts,
                     bool upsampled) {
  const std::vector<const MapRecord*> records = Finite(column);
  std::vector<at::Tensor> raw;
  for (const MapRecord* record : records) raw.push_back(record->raw);
  const auto row = [](auto get) {
    return [get](const MapRecord& record) { return (record.row.*get)(); };
  };
  using Row = v1::ExplainRow;
  std::map<std::string, at::Tensor> tensors = {
      {"raw", raw.empty() ? torch::empty({0, 0, 0}) : torch::stack(raw)},
      {"sample_id",
       Values(records, at::kLong, [](const MapRecord& r) { return int64_t{r.row.sample_id()}; })},
      {"target_class", Values(records, at::kLong, row(&Row::target_class))},
      {"predicted", Values(records, at::kLong, row(&Row::predicted))},
      {"variant",
       Values(records, at::kByte, [](const MapRecord& r) { return r.adversarial ? 1 : 0; })},
      {"confidence", Values(records, at::kFloat, row(&Row::confidence))},
      {"score", Values(records, at::kFloat, row(&Row::score))},
      {"pre_relu_min", Values(records, at::kFloat, row(&Row::pre_relu_min))},
      {"pre_relu_max", Values(records, at::kFloat, row(&Row::pre_relu_max))},
      {"empty",
       Values(records, at::kByte, [](const MapRecord& r) { return r.row.empty() ? 1 : 0; })}};
  if (upsampled && !raw.empty()) {
    tensors["display"] =
        Normalise(Upsample(tensors["raw"], facts.shape.height, facts.shape.width, plan.upsampling),
                  column.signedness);
  }
  return WriteSafetensors(tensors, Metadata(column, plan, facts));
}

std::string TableCsv(const std::vector<MapColumn>& columns) {
  std::string csv =
      "sample_id,label,explainer,layer,variant,class,predicted,confidence,score,raw_min,raw_max,"
      "pre_relu_min,pre_relu_max,empty,share_in_region,area_in_region,error,name\n";
  for (const MapColumn& column : columns) {
    for (const MapRecord& record : column.records) {
      const v1::ExplainRow& row = record.row;
      std::vector<std::string> fields = {absl::StrCat(row.sample_id()),
                                         row.has_label() ? absl::StrCat(row.label()) : "",
                                         row.explainer(),
                                         row.layer(),
                                         row.variant(),
                                         absl::StrCat(row.target_class()),
                                         absl::StrCat(row.predicted())};
      for (const double value : {row.confidence(), row.score(), row.raw_min(), row.raw_max(),
                                 row.pre_relu_min(), row.pre_relu_max()}) {
        fields.push_back(record.failed ? "" : Number(value));
      }
      fields.push_back(row.empty() ? "true" : "false");
      fields.push_back(row.has_share_in_region() ? Number(row.share_in_region()) : "");
      fields.push_back(row.has_area_in_region() ? Number(row.area_in_region()) : "");
      fields.push_back(record.failed ? "NUMERICAL" : "");
      fields.push_back(Field(row.name()));
      absl::StrAppend(&csv, absl::StrJoin(fields, ","), "\n");
    }
  }
  return csv;
}

}  // namespace adamant
