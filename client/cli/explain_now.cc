// SPDX-License-Identifier: Apache-2.0
#include "client/cli/explain_now.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/explain_files.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

bool Wants(const v1::ExplainSpec& spec, v1::ExplainOutput output) {
  return std::find(spec.outputs().begin(), spec.outputs().end(), output) != spec.outputs().end();
}

absl::Status CompleteOutputs(const NowOptions& options, v1::ExplainSpec& spec) {
  const bool files = std::any_of(spec.outputs().begin(), spec.outputs().end(), [](int output) {
    return output != v1::TOP_CLASSES && output != v1::LAYERS;
  });
  if (files && options.out.empty()) {
    return UsageError("--outputs asks for files; say with --out where they go");
  }
  if (spec.outputs().empty() && !options.out.empty()) spec.add_outputs(v1::OVERLAY_PNG);
  if (!Wants(spec, v1::TOP_CLASSES)) spec.add_outputs(v1::TOP_CLASSES);
  return absl::OkStatus();
}

std::string ClassText(const v1::TopClass& top) {
  return top.name().empty() ? absl::StrCat(top.index())
                            : absl::StrCat(top.index(), " (", top.name(), ")");
}

std::string ClassesText(const v1::ExplainSpec& spec, const v1::ExplainResponse& response) {
  Table table({"IMAGE", "CLASS", "PROBABILITY", "NEXT"});
  for (int i = 0; i < response.images_size(); ++i) {
    const auto& top = response.images(i).top();
    if (top.empty()) continue;
    std::vector<std::string> next;
    for (int rank = 1; rank < std::min(top.size(), 3); ++rank)
      next.push_back(
          absl::StrCat(ClassText(top[rank]), ": ", PercentText(top[rank].probability())));
    table.Add({spec.images(i).name(), ClassText(top[0]), PercentText(top[0].probability()),
               absl::StrJoin(next, ", ")});
  }
  return table.empty() ? "" : table.Render();
}

std::string MapsText(const v1::ExplainSpec& spec, const v1::ExplainResponse& response,
                     const std::vector<MapFile>& files) {
  Table table({"IMAGE", "VARIANT", "LAYER", "EXPLAINED CLASS", "FILES"});
  for (int i = 0; i < response.images_size(); ++i) {
    const v1::ExplainedImage& image = response.images(i);
    for (int m = 0; m < image.maps_size(); ++m) {
      std::vector<std::string> paths;
      for (const MapFile& file : files) {
        if (file.image == i && file.map == m) paths.push_back(file.path);
      }
      if (image.maps(m).empty()) paths.push_back("(the map is empty)");
      table.Add({spec.images(i).name(), std::string(VariantOf(spec, m)), image.maps(m).layer(),
                 absl::StrCat(image.maps(m).target_class()), absl::StrJoin(paths, " ")});
    }
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render());
}

std::string LayersText(const v1::ExplainResponse& response) {
  std::vector<std::string> names;
  for (const v1::Layer& layer : response.layers()) names.push_back(layer.name());
  return absl::StrJoin(names, ", ");
}

std::string AnswerText(const v1::ExplainSpec& spec, const v1::ExplainResponse& response,
                       const std::vector<MapFile>& files, absl::Duration took) {
  const std::string time = absl::StrFormat(
      "%.0f ms: %.0f computing, %.0f waiting for a worker (%s)", absl::ToDoubleMilliseconds(took),
      1e3 * response.compute_seconds(), 1e3 * response.queue_seconds(),
      response.warm() ? "warm, the model was loaded" : "cold, the model had to be loaded");
  return absl::StrCat(
      ClassesText(spec, response), MapsText(spec, response, files), "\n",
      RenderFields(
          {{"Explainer", PluginText(response.explainer())},
           {"Model",
            absl::StrCat(SourceText(spec.model()),
                         response.model_sha256().empty()
                             ? ""
                             : absl::StrCat(", sha256 ", ShortDigest(response.model_sha256())))},
           {"Layers", LayersText(response)},
           {"Time", time}}));
}

std::string Number(double value) { return std::isfinite(value) ? absl::StrCat(value) : "null"; }

std::string MapJson(const v1::ExplainSpec& spec, const v1::ExplainMap& map, int index,
                    const std::vector<MapFile>& files, int image) {
  std::string json = absl::StrCat(
      "{\"layer\":", JsonString(map.layer()), ",\"variant\":\"", VariantOf(spec, index),
      "\",\"target_class\":", map.target_class(), ",\"height\":", map.height(),
      ",\"width\":", map.width(), ",\"pre_relu_min\":", Number(map.pre_relu_min()),
      ",\"pre_relu_max\":", Number(map.pre_relu_max()),
      ",\"empty\":", map.empty() ? "true" : "false");
  for (const MapFile& file : files) {
    if (file.image == image && file.map == index)
      absl::StrAppend(&json, ",\"", file.kind, "_file\":", JsonString(file.path));
  }
  return absl::StrCat(json, "}");
}

// Without the bytes, which are in `files`.
std::string ImageJson(const v1::ExplainSpec& spec, const v1::ExplainedImage& image, int index,
                      const std::vector<MapFile>& files) {
  std::vector<std::string> top, maps;
  for (const v1::TopClass& one : image.top()) top.push_back(MessageJson(one));
  for (int m = 0; m < image.maps_size(); ++m)
    maps.push_back(MapJson(spec, image.maps(m), m, files, index));
  return absl::StrCat("{\"name\":", JsonString(spec.images(index).name()),
                      ",\"preprocessed\":", JsonString(image.preprocessed()), ",\"top\":[",
                      absl::StrJoin(top, ","), "],\"maps\":[", absl::StrJoin(maps, ","), "]}");
}

// The fields of the answer beside its images.
std::string RestJson(const v1::ExplainResponse& response, absl::Duration took) {
  std::vector<std::string> layers;
  for (const v1::Layer& layer : response.layers()) layers.push_back(MessageJson(layer));
  return absl::StrCat("\"explainer\":", MessageJson(response.explainer()),
                      ",\"model_sha256\":", JsonString(response.model_sha256()), ",\"layers\":[",
                      absl::StrJoin(layers, ","), "],\"queue_seconds\":", response.queue_seconds(),
                      ",\"compute_seconds\":", response.compute_seconds(),
                      ",\"seconds\":", absl::ToDoubleSeconds(took),
                      ",\"warm\":", response.warm() ? "true" : "false");
}

int Finish(Session& session, const v1::ExplainSpec& spec, const v1::ExplainResponse& response,
           const std::vector<MapFile>& files, absl::Duration took) {
  if (!session.json()) {
    const auto path = [](std::string* out, const MapFile& file) { out->append(file.path); };
    return session.FinishJson("", AnswerText(spec, response, files, took),
                              absl::StrJoin(files, "\n", path));
  }
  std::vector<std::string> images;
  for (int i = 0; i < response.images_size(); ++i)
    images.push_back(ImageJson(spec, response.images(i), i, files));
  const std::string rest = RestJson(response, took);
  if (session.format() == OutputFormat::kJsonLines) {
    for (const std::string& image : images) session.out() << image << "\n";
    return session.FinishJson(absl::StrCat("{", rest, "}"), "", "");
  }
  return session.FinishJson(
      absl::StrCat("{\"images\":[", absl::StrJoin(images, ","), "],", rest, "}"), "", "");
}

}  // namespace

absl::StatusOr<int> ExplainNow(Session& session, v1::ExplainSpec spec, const NowOptions& options) {
  RETURN_IF_ERROR(CompleteOutputs(options, spec));
  ASSIGN_OR_RETURN(Client * client, session.client());
  v1::ExplainRequest request;
  *request.mutable_spec() = spec;
  const absl::Time start = absl::Now();
  Interrupt::Listen listen(session.interrupt());
  ASSIGN_OR_RETURN(v1::ExplainResponse response,
                   client->Explain(request, options.deadline, listen.token()));
  const absl::Duration took = absl::Now() - start;
  if (response.images_size() != spec.images_size())
    return absl::DataLossError("the server answered for another number of images");
  ASSIGN_OR_RETURN(const std::vector<MapFile> files, TakeFiles(spec, options.out, response));
  RETURN_IF_ERROR(WriteFiles(files, options.overwrite));
  if (options.out.empty()) {
    session.Note("--out FOLDER keeps pictures of the maps");
  }
  return Finish(session, spec, response, files, took);
}

}  // namespace adamant
