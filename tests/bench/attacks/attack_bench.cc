// SPDX-License-Identifier: Apache-2.0
// Runs one attack as an evaluation would and prints one JSON line: the side of Adamant in
// `scripts/bench attacks`. With --export it writes what the other sides need instead: the weights,
// the images and the labels.
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/torch.h"
#include "core/engine.h"
#include "core/models/model_file.h"
#include "core/run/evaluation.h"
#include "core/run/search_model.h"
#include "tests/support/torch/reference.h"

namespace adamant {
namespace {

struct Options {
  std::string model = "mnist_lenet5_adv";  // a reference checkpoint, or a .safetensors file
  std::string data = "mnist";              // or a variant of shapes
  std::string attack = "pgd";
  std::vector<std::string> params;  // name=value
  std::string norm = "LINF";
  double epsilon = 0.3;
  bool nearest = false;
  int64_t images = 1000;
  int64_t compute_batch = 0;
  int64_t batch_size = 0;
  uint64_t seed = 0;
  std::string precision;
  std::string save;
  std::string export_to;
};

template <class T>
T Value(absl::StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *std::move(result);
}

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::unique_ptr<Model> OpenBenchModel(const std::string& name) {
  if (!absl::EndsWith(name, ".safetensors")) return testing::ReferenceModel(name);
  ModelInput input;
  input.name = name;
  input.file = Value(FileView::Open(name));
  return Value(OpenModel(input));
}

Batch BenchImages(const std::string& data, int64_t count) {
  if (data == "mnist") return testing::MnistTestBatch(count);
  v1::PluginSpec reader;
  reader.set_name("shapes");
  (*reader.mutable_params()->mutable_fields())["variant"].set_string_value(data);
  const auto shapes = Value(MakePlugin<Dataset>(reader, DataFiles{}));
  std::vector<int64_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), int64_t{0});
  return Value(shapes->Read("test", ids));
}

// Whatever is no JSON is a string.
google::protobuf::Value ParamValue(const std::string& text) {
  google::protobuf::Value value;
  if (!google::protobuf::util::JsonStringToMessage(text, &value).ok()) value.set_string_value(text);
  return value;
}

google::protobuf::RepeatedPtrField<v1::AttackEntry> Entries(const Options& options) {
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries;
  v1::AttackEntry& entry = *entries.Add();
  entry.mutable_attack()->set_name(options.attack);
  for (const std::string& param : options.params) {
    const size_t equals = param.find('=');
    if (equals == std::string::npos) throw std::runtime_error("--param takes name=value");
    (*entry.mutable_attack()->mutable_params()->mutable_fields())[param.substr(0, equals)] =
        ParamValue(param.substr(equals + 1));
  }
  if (options.norm == "none") return entries;  // the attack has a budget of its own
  v1::Norm norm = v1::LINF;
  if (!v1::Norm_Parse(options.norm, &norm)) throw std::runtime_error("unknown norm");
  entry.mutable_threat()->set_norm(norm);
  if (!options.nearest) entry.mutable_threat()->set_epsilon(options.epsilon);
  return entries;
}

void WriteBytes(const std::string& path, const at::Tensor& values) {
  const at::Tensor flat = values.contiguous();
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(flat.data_ptr()),
             static_cast<std::streamsize>(flat.nbytes()));
}

void Export(const Options& options, const Model& model, const Batch& batch) {
  std::ofstream(options.export_to + "/model.safetensors", std::ios::binary)
      << SerializeModel(model);
  WriteBytes(options.export_to + "/images.f32", batch.images);
  WriteBytes(options.export_to + "/labels.i64", batch.labels.to(at::kLong));
}

// The clean image where nothing was found.
at::Tensor FoundImages(const EvaluationResult& result, const Batch& batch) {
  at::Tensor images = batch.images.clone();
  for (size_t i = 0; i < result.images.size(); ++i) {
    if (result.images[i].defined()) images[static_cast<int64_t>(i)].copy_(result.images[i]);
  }
  return images;
}

// Over the samples that were attacked; those without an image count as infinitely far away, which
// JSON has no number for.
nlohmann::json MedianDistance(const EvaluationResult& result) {
  std::vector<double> distances;
  for (size_t i = 0; i < result.outcomes.size(); ++i) {
    if (result.outcomes[i].state() == v1::CLEAN_WRONG) continue;
    const double found = result.instances[0].min_norm[i];
    distances.push_back(std::isnan(found) ? HUGE_VAL : found);
  }
  if (distances.empty()) return nullptr;
  std::sort(distances.begin(), distances.end());
  const double median = distances[distances.size() / 2];
  return std::isinf(median) ? nlohmann::json("infinite") : nlohmann::json(median);
}

int Run(const Options& options) {
  engine::Prepare(/*threads=*/1);
  const auto model = OpenBenchModel(options.model);
  const Batch batch = BenchImages(options.data, options.images);
  if (!options.export_to.empty()) {
    Export(options, *model, batch);
    return 0;
  }
  const auto instances =
      Value(MakeInstances(Entries(options), model->info().shape, options.nearest));
  EvaluationOptions evaluation;
  evaluation.seed = options.seed;
  evaluation.compute_batch = options.compute_batch;
  evaluation.batch_size = options.batch_size;
  const SearchModel search =
      Value(MakeSearchModel(*model, options.precision, evaluation.device,
                            batch.images.narrow(0, 0, std::min<int64_t>(16, batch.size())), {}));
  evaluation.search_model = search.model.get();
  evaluation.nearest = options.nearest;
  const auto start = std::chrono::steady_clock::now();
  const double cpu = CpuSeconds();
  const EvaluationResult result =
      Value(RunEvaluation(*model, SamplesOf(batch), instances, evaluation, {}));
  nlohmann::ordered_json line;
  line["cpu_seconds"] = CpuSeconds() - cpu;
  line["wall_seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int64_t robust = 0;
  auto broken = nlohmann::ordered_json::array();
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    robust += outcome.state() == v1::ROBUST;
    if (outcome.state() == v1::BROKEN) broken.push_back(outcome.sample_id());
  }
  line["robust"] = robust;
  if (options.nearest) line["median_distance"] = MedianDistance(result);
  line["broken_ids"] = std::move(broken);
  line["forwards"] = result.forwards;
  line["backwards"] = result.backwards;
  line["padded_rows"] = result.padded_rows;
  line["batch"] = result.compute_batch;
  if (!options.save.empty()) WriteBytes(options.save, FoundImages(result, batch));
  std::cout << line.dump() << std::endl;
  return 0;
}

}  // namespace
}  // namespace adamant

int main(int argc, char** argv) {
  adamant::Options options;
  CLI::App app("Runs one attack and prints its cost as a JSON line.");
  app.add_option("--model", options.model,
                 "reference checkpoint, or a .safetensors file that `adamant blob get` wrote");
  app.add_option("--data", options.data, "test images: mnist, or glyph28 or geo32 of shapes");
  app.add_option("--attack", options.attack, "plug-in");
  app.add_option("--param", options.params, "name=value of the attack");
  app.add_option("--norm", options.norm,
                 "LINF, L2, L1, L0; none for an attack with a budget of its own");
  app.add_option("--epsilon", options.epsilon, "radius in pixel units");
  app.add_flag("--nearest", options.nearest,
               "minimum-norm attacks: smallest distances instead of success at epsilon");
  app.add_option("--images", options.images, "the first N test images");
  app.add_option("--compute-batch", options.compute_batch, "rows per network call; 0: automatic");
  app.add_option("--batch-size", options.batch_size, "samples in flight; 0: automatic");
  app.add_option("--seed", options.seed, "of the random draws");
  app.add_option("--precision", options.precision, "of the search: fp32 (default), bf16");
  app.add_option("--save", options.save, "file for the adversarial images, float32");
  app.add_option("--export", options.export_to, "folder for weights, images and labels");
  CLI11_PARSE(app, argc, argv);
  try {
    return adamant::Run(options);
  } catch (const std::exception& error) {
    std::cerr << "attack_bench: " << error.what() << std::endl;
    return 1;
  }
}
