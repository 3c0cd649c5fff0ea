// SPDX-License-Identifier: Apache-2.0
// `adamant explain`
#include <filesystem>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/duration.h"
#include "client/cli/exit_code.h"
#include "client/cli/explain_now.h"
#include "client/cli/follow.h"
#include "client/cli/names.h"
#include "client/cli/spec_file.h"
#include "client/cli/spec_upload.h"
#include "client/cli/submit.h"
#include "client/cli/text.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr size_t kMaxInlineBytes = 1 << 20;
constexpr size_t kMaxNowBytes = 4 << 20;  // of the whole request
constexpr size_t kMaxImages = 64;

struct ExplainFlags {
  SubmitFlags submit;
  ThreatFlags threat;
  SelectFlags select;
  std::vector<std::string> images, layers;
  std::optional<int32_t> class_index;
  std::optional<uint64_t> seed;
  std::optional<double> opacity;
  std::string target, resize, colour_map, outputs, folder;
  bool convert_channels = false, now = false, force = false;
};

absl::Status AddImages(const ExplainFlags& flags, v1::ExplainSpec& spec) {
  size_t bytes = 0;
  for (const std::string& path : flags.images) {
    ASSIGN_OR_RETURN(std::string data, ReadFile(path));
    bytes += data.size();
    v1::InlineImage& image = *spec.add_images();
    image.set_name(std::filesystem::path(path).filename().string());
    image.set_data(std::move(data));
  }
  const size_t most = flags.now ? kMaxNowBytes : kMaxInlineBytes;
  if (bytes <= most && flags.images.size() <= kMaxImages) return absl::OkStatus();
  return UsageError(absl::StrCat(
      flags.images.size(), " images of ", BytesText(static_cast<int64_t>(bytes)),
      " do not fit into one request (at most ", kMaxImages, " and ",
      BytesText(static_cast<int64_t>(most)),
      "); give fewer, or register them with `adamant dataset add ID --reader image_folder FOLDER` "
      "and use --dataset ID"));
}

absl::Status ApplyTarget(const ExplainFlags& flags, v1::ExplainSpec& spec) {
  if (flags.target == "true") {
    spec.set_target(v1::TRUE_LABEL);
  } else if (!flags.target.empty()) {
    ASSIGN_OR_RETURN(const int target,
                     ParseEnum("target", flags.target, *v1::TargetPolicy_descriptor()));
    spec.set_target(static_cast<v1::TargetPolicy>(target));
  }
  if (!flags.class_index.has_value()) return absl::OkStatus();
  if (!flags.target.empty() && spec.target() != v1::GIVEN) {
    return UsageError("--class names the class itself; leave --target out or write given");
  }
  spec.set_target(v1::GIVEN);
  spec.set_class_index(*flags.class_index);
  return absl::OkStatus();
}

absl::Status ApplyDisplay(const ExplainFlags& flags, v1::ExplainSpec& spec) {
  if (!flags.resize.empty()) {
    ASSIGN_OR_RETURN(const int resize,
                     ParseEnum("resize", flags.resize, *v1::Preprocess::Resize_descriptor()));
    spec.mutable_preprocess()->set_resize(static_cast<v1::Preprocess::Resize>(resize));
  }
  if (flags.convert_channels) spec.mutable_preprocess()->set_convert_channels(true);
  if (flags.opacity.has_value()) spec.mutable_display()->set_opacity(*flags.opacity);
  if (!flags.colour_map.empty()) spec.mutable_display()->set_colour_map(flags.colour_map);
  if (flags.seed.has_value()) spec.set_seed(*flags.seed);
  if (flags.outputs.empty()) return absl::OkStatus();
  spec.clear_outputs();
  for (absl::string_view output : absl::StrSplit(flags.outputs, ',')) {
    ASSIGN_OR_RETURN(const int value, ParseEnum("output", output, *v1::ExplainOutput_descriptor()));
    spec.add_outputs(static_cast<v1::ExplainOutput>(value));
  }
  return absl::OkStatus();
}

absl::Status ApplyInput(Session& session, const ExplainFlags& flags,
                        const std::vector<TypedPlugin>& plugins, v1::ExplainSpec& spec) {
  if (const auto* model = LastPlugin(plugins, "model"); model != nullptr) {
    ASSIGN_OR_RETURN(*spec.mutable_model(), ResolveModel(session, *model, false));
  }
  const auto* data = LastPlugin(plugins, "dataset");
  if (data != nullptr && !flags.images.empty()) {
    return UsageError("give image files or --dataset, not both");
  }
  if (data != nullptr) {
    ASSIGN_OR_RETURN(*spec.mutable_data(), ResolveData(session, *data));
  }
  if (spec.has_data()) RETURN_IF_ERROR(ApplySelection(flags.select, *spec.mutable_data()));
  return AddImages(flags, spec);
}

// With an attack every sample gives a pair: its map, and the map of its adversarial image.
absl::Status ApplyAttack(const ExplainFlags& flags, const std::vector<TypedPlugin>& plugins,
                         v1::ExplainSpec& spec) {
  if (const auto* attack = LastPlugin(plugins, "attack"); attack != nullptr) {
    *spec.mutable_attack()->mutable_attack() = *attack;
  }
  if (!spec.has_attack()) return absl::OkStatus();
  return ApplyThreat(flags.threat, *spec.mutable_attack()->mutable_threat(), nullptr);
}

// The first option on the command line that belongs to jobs only, or "".
std::string JobOption(const CLI::App& app) {
  const std::set<std::string> jobs_only = {"watch", "wait",    "cancel-on-interrupt",
                                           "split", "begin",   "samples",
                                           "ids",   "dataset", "analysis"};
  for (const CLI::Option* option : app.parse_order()) {
    const std::string name = option->get_lnames().empty() ? "" : option->get_lnames().front();
    const bool of_submit = option->get_group() == "Submit" && name != "file" && name != "set";
    if (of_submit || jobs_only.count(name) > 0) return absl::StrCat("--", name);
  }
  return "";
}

absl::Status CheckFlags(const CLI::App& app, const ExplainFlags& flags,
                        const std::vector<TypedPlugin>& plugins) {
  if (const std::string option = JobOption(app); flags.now && !option.empty()) {
    return UsageError(
        absl::StrCat(option, " belongs to jobs and --now explains without one; leave one out"));
  }
  if (flags.submit.file.empty() &&
      (LastPlugin(plugins, "model") == nullptr ||
       (LastPlugin(plugins, "dataset") == nullptr && flags.images.empty()))) {
    return UsageError("--model and either image files or --dataset are needed (or a spec file)");
  }
  if (flags.now) {
    if (AllPlugins(plugins, "explainer").size() > 1)
      return UsageError("--now takes one --explainer; repeat the command, or submit a job");
    return absl::OkStatus();
  }
  if (!flags.folder.empty() && !flags.submit.watch && !flags.submit.wait) {
    return UsageError(
        "--out needs --wait, --watch or --now; later: `adamant job get JOB --save DIR`");
  }
  return absl::OkStatus();
}

absl::Status FillSpec(Session& session, const ExplainFlags& flags,
                      const std::vector<TypedPlugin>& plugins, v1::ExplainSpec& spec) {
  RETURN_IF_ERROR(LoadSpecFile(flags.submit, spec));
  RETURN_IF_ERROR(ApplyInput(session, flags, plugins, spec));
  if (const auto all = AllPlugins(plugins, "explainer"); !all.empty()) {
    spec.mutable_explainers()->Assign(all.begin(), all.end());
  }
  if (const auto all = AllPlugins(plugins, "analysis"); !all.empty()) {
    spec.mutable_analyses()->Assign(all.begin(), all.end());
  }
  if (!flags.layers.empty())
    spec.mutable_layers()->Assign(flags.layers.begin(), flags.layers.end());
  RETURN_IF_ERROR(ApplyAttack(flags, plugins, spec));
  RETURN_IF_ERROR(ApplyTarget(flags, spec));
  return ApplyDisplay(flags, spec);
}

absl::StatusOr<int> AnswerNow(Session& session, const ExplainFlags& flags, v1::ExplainSpec spec) {
  RETURN_IF_ERROR(ApplySettings(flags.submit.settings, spec));
  RETURN_IF_ERROR(UploadSpecFiles(
      spec, [&](const std::string& path) { return UploadFile(session, path, path); }));
  NowOptions options;
  options.out = flags.folder;
  options.overwrite = flags.force;
  if (!flags.submit.timeout.empty()) {
    ASSIGN_OR_RETURN(options.deadline, ParseSpan("--timeout", flags.submit.timeout));
    if (options.deadline > kLongestExplain)
      return UsageError("--timeout of --now is at most 60s; longer ones are jobs, with --wait");
  }
  return ExplainNow(session, std::move(spec), options);
}

absl::StatusOr<int> Explain(const CLI::App& app, const ExplainFlags& flags, Session& session) {
  ASSIGN_OR_RETURN(const std::vector<TypedPlugin> plugins, BindParams(CollectTyped(app)));
  RETURN_IF_ERROR(CheckFlags(app, flags, plugins));
  v1::JobSpec job;
  v1::ExplainSpec& spec = *job.mutable_explain();
  RETURN_IF_ERROR(FillSpec(session, flags, plugins, spec));
  if (flags.now) return AnswerNow(session, flags, std::move(spec));
  return SubmitJob(session, flags.submit, spec, job, [&](Session& s, const v1::Job& ended) {
    return flags.folder.empty() ? absl::OkStatus()
                                : SaveArtifacts(s, ended, flags.folder, flags.force);
  });
}

}  // namespace

void AddExplain(CLI::App& root, Commands& commands) {
  auto flags = std::make_shared<ExplainFlags>();
  CLI::App* app = root.add_subcommand("explain", "Show which pixels a class depends on");
  app->add_option("IMAGE", flags->images,
                  "PNG or JPEG files, together at most 1 MiB (4 MiB with --now)");
  AddTyped(*app, "model", "models/ID or ID, or jobs/UID")->group("What");
  AddTyped(*app, "explainer", "method, e.g. grad_cam; repeatable")->group("What");
  AddTyped(*app, "attack", "explain each sample and its adversarial image, side by side")
      ->group("What");
  AddTyped(*app, "analysis", "question to answer besides; repeatable")->group("What");
  AddTyped(*app, "param", "NAME=VALUE of the plug-in option before it; repeatable")->group("What");
  app->add_option("--layer", flags->layers, "layer (default: the last convolution); repeatable")
      ->allow_extra_args(false)
      ->group("What");
  app->add_option("--target", flags->target, "predicted, true, second, least_likely or given")
      ->group("What");
  app->add_option("--class", flags->class_index, "class index, with --target given")->group("What");
  AddThreatFlags(*app, flags->threat);
  AddTyped(*app, "dataset", "datasets/ID or ID, or a built-in reader, instead of files")
      ->group("Data");
  AddSelectFlags(*app, flags->select);
  app->add_option("--resize", flags->resize, "stretch, shorter_side_crop or letterbox")
      ->group("Data");
  app->add_flag("--convert-channels", flags->convert_channels, "grey to colour or back, as needed")
      ->group("Data");
  app->add_option("--opacity", flags->opacity, "of the map over the image, 0 to 1")
      ->group("Pictures");
  app->add_option("--colour-map", flags->colour_map, "viridis, jet or grey")->group("Pictures");
  app->add_option(
         "--outputs", flags->outputs,
         "comma list of raw_map, upsampled_map, heatmap_png, overlay_png, sheet_png, table;\n"
         "with --now of the first four and layers")
      ->group("Pictures");
  app->add_option("--out", flags->folder,
                  "folder for pictures and maps, with --now, --wait or --watch;\n"
                  "with --now also a file, for one picture (.png) or map (.npy)")
      ->group("Pictures");
  app->add_flag("--force", flags->force, "overwrite files of --out")->group("Pictures");
  app->add_option("--seed", flags->seed, "of every random choice (default 0)")->group("What");
  AddSubmitFlags(*app, flags->submit);
  app->get_option("--timeout")
      ->description("of --wait, e.g. 10m; the job goes on. Of --now: at most 60s (default 10s)");
  app->add_flag("--now", flags->now, "answer at once, without a job; for image files")
      ->group("Follow");
  app->footer(
      "Examples:\n"
      "  adamant explain cat.png --model flowers --now --out cat-map.png\n"
      "  adamant explain --model mnist-robust --dataset mnist --samples 8 --explainer grad_cam \\\n"
      "    --wait --out maps");
  commands.push_back({app, "explain",
                      [app, flags](Session& session) { return Explain(*app, *flags, session); },
                      Effect::kSubmits});
}

}  // namespace adamant
