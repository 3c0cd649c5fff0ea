// SPDX-License-Identifier: Apache-2.0
// The Analysis contract: a model, data and attacks -> tables and pictures that answer one question.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/attack.pb.h"
#include "core/base/registry.h"
#include "core/base/run_control.h"
#include "core/data/dataset.h"
#include "core/models/model.h"

namespace adamant {

// Accuracy of one attack at one epsilon, every success verified.
struct MeasuredAccuracy {
  int position = 0;  // of the entry that was asked for
  v1::PluginSpec attack;
  double epsilon = 0;
  v1::Accuracy accuracy;
};

// What an analysis works with. Borrows everything; valid during Run.
struct AnalysisInput {
  Model* model = nullptr;
  std::string model_name;
  const DataSlice* data = nullptr;
  std::vector<v1::AttackEntry> attacks;  // of the job
  uint64_t seed = 0;
  const RunControl* control = nullptr;
  // Verified evaluation: each entry alone, its epsilons ascending, successes carried over.
  std::function<absl::StatusOr<std::vector<MeasuredAccuracy>>(const std::vector<v1::AttackEntry>&)>
      evaluate;
};

struct Picture {
  std::string name;  // file name
  std::string media_type;
  std::string bytes;
};

struct AnalysisOutput {
  std::vector<v1::AnalysisTable> tables;
  std::vector<Picture> pictures;
};

// Created per job, immutable, single-threaded use.
class Analysis {
 public:
  static constexpr char kFamily[] = "analysis";
  using Factory = std::unique_ptr<Analysis>(const Params&);

  virtual ~Analysis() = default;
  // INVALID_ARGUMENT when the parameters do not suit model or data.
  virtual absl::StatusOr<AnalysisOutput> Run(const AnalysisInput& input) const = 0;
};

// Building tables.
v1::TableCell Cell(double number);
v1::TableCell Cell(const std::string& text);
void AddColumn(v1::AnalysisTable& table, const std::string& name, const std::string& unit = "");
void AddRow(v1::AnalysisTable& table, std::vector<v1::TableCell> cells);

}  // namespace adamant
