// SPDX-License-Identifier: Apache-2.0
// The part of SpecChecker that knows AttackSpec and ExplainSpec.
#include "absl/strings/str_cat.h"
#include "server/api/spec_checker.h"

namespace adamant {
namespace {

constexpr int kMaxAttacks = 64;
constexpr int kMaxSeeds = 64;
constexpr int kMaxShards = 32;
constexpr int kMaxBatch = 65536;
constexpr int kMaxImages = 64;
constexpr size_t kMaxInlineBytes = 1 << 20;
constexpr size_t kMaxInteractiveBytes = 4 << 20;
constexpr int kMaxExplainers = 16;
constexpr int kMaxSide = 4096;

}  // namespace

void SpecChecker::CheckAttack(v1::AttackSpec& spec) {
  CheckModelSource("spec.model", *spec.mutable_model(), /*training=*/false);
  CheckAdversarialSet(spec);
  CheckDataSource("spec.data", *spec.mutable_data(), "test");
  if (spec.attacks().empty()) Bad("spec.attacks", "is missing: name at least one attack");
  if (spec.attacks_size() > kMaxAttacks)
    Bad("spec.attacks", absl::StrCat("has more than ", kMaxAttacks));
  for (int i = 0; i < spec.attacks_size(); ++i)
    CheckEntry(absl::StrCat("spec.attacks[", i, "]"), *spec.mutable_attacks(i));
  if (spec.mode() == v1::ATTACK_MODE_UNSPECIFIED) spec.set_mode(v1::EVALUATE);
  if (!spec.has_cascade()) spec.set_cascade(true);
  if (spec.depth().empty()) spec.set_depth("quick");
  if (spec.depth() != "quick" && spec.depth() != "full")
    Bad("spec.depth", "must be \"quick\" or \"full\"");
  if (spec.seeds().empty()) spec.add_seeds(0);
  if (spec.seeds_size() > kMaxSeeds) Bad("spec.seeds", absl::StrCat("has more than ", kMaxSeeds));
  if (spec.decision_draws() == 0) spec.set_decision_draws(20);
  Range("spec.decision_draws", spec.decision_draws(), 1, 10000);
  if (spec.has_declared_clean_accuracy())
    Range("spec.declared_clean_accuracy", spec.declared_clean_accuracy(), 0, 1);
  if (spec.has_declared_certified_accuracy())
    Range("spec.declared_certified_accuracy", spec.declared_certified_accuracy(), 0, 1);
  CheckAnalyses("spec.analyses", *spec.mutable_analyses());
  if (!(spec.stop().seconds() >= 0)) Bad("spec.stop.seconds", "must not be negative");
  if (spec.stop().queries() < 0) Bad("spec.stop.queries", "must not be negative");
  Range("spec.stop.robust_accuracy", spec.stop().robust_accuracy(), 0, 1);
  Range("spec.batch_size", spec.batch_size(), 0, kMaxBatch);
  Range("spec.compute_batch", spec.compute_batch(), 0, kMaxBatch);
  if (!spec.has_confidence_level()) spec.set_confidence_level(0.95);
  if (!(spec.confidence_level() > 0 && spec.confidence_level() < 1))
    Bad("spec.confidence_level", "must be in (0, 1)");
  CheckAttackOutputs(spec);
  CheckShards(spec);
}

void SpecChecker::CheckAttackOutputs(v1::AttackSpec& spec) {
  if (spec.outputs().empty()) {
    spec.add_outputs(v1::SUMMARY);
    spec.add_outputs(v1::SAMPLE_TABLE);
  }
  for (int i = 0; i < spec.outputs_size(); ++i) {
    const std::string field = absl::StrCat("spec.outputs[", i, "]");
    if (!v1::AttackOutput_IsValid(spec.outputs(i)) ||
        spec.outputs(i) == v1::ATTACK_OUTPUT_UNSPECIFIED) {
      Bad(field, "must be SUMMARY, SAMPLE_TABLE, ADVERSARIAL_EXAMPLES or CURVES");
    }
  }
  if (spec.search_precision().empty()) spec.set_search_precision("fp32");
  if (spec.search_precision() != "fp32" && spec.search_precision() != "bf16")
    Bad("spec.search_precision", "must be \"fp32\" or \"bf16\"");
}

// A crafted set belongs to the attacks that replay one.
void SpecChecker::CheckAdversarialSet(const v1::AttackSpec& spec) {
  bool replays = false;
  for (const v1::AttackEntry& entry : spec.attacks()) {
    const v1::PluginInfo* plugin = FindPlugin(Family("attack"), entry.attack().name());
    replays |= HasTrait(plugin, "replays_set");
  }
  if (replays && !spec.has_adversarial_set()) {
    Bad("spec.adversarial_set", "is missing: name the crafted set that attack transfer replays");
  } else if (!replays && spec.has_adversarial_set()) {
    Bad("spec.adversarial_set", "is replayed by no attack: add attack transfer");
  } else if (replays) {
    CheckBlob("spec.adversarial_set", spec.adversarial_set());
  }
}

// What looks at all samples together cannot be divided.
void SpecChecker::CheckShards(const v1::AttackSpec& spec) {
  for (int i = 0; i < spec.shard_records_size(); ++i)
    CheckBlob(absl::StrCat("spec.shard_records[", i, "]"), spec.shard_records(i));
  if (spec.shard_records_size() == 1 || spec.shard_records_size() > kMaxShards)
    Bad("spec.shard_records", absl::StrCat("must be those of all shards, 2 to ", kMaxShards));
  if (!spec.has_shard()) return;
  const v1::Shard& shard = spec.shard();
  if (shard.count() < 2 || shard.count() > kMaxShards)
    Bad("spec.shard.count", absl::StrCat("must be 2 to ", kMaxShards));
  if (shard.index() < 0 || shard.index() >= shard.count())
    Bad("spec.shard.index", "must be 0 to count - 1");
  if (!spec.shard_records().empty())
    Bad("spec.shard_records", "merges all shards; a job is one shard or the merge");
  if (spec.stop().seconds() > 0 || spec.stop().robust_accuracy() > 0)
    Bad("spec.stop", "in a shard only queries can be limited: the others look at all samples");
  for (int i = 0; i < spec.attacks_size(); ++i) {
    const std::string& name = spec.attacks(i).attack().name();
    const v1::PluginInfo* plugin = FindPlugin(Family("attack"), name);
    if (HasTrait(plugin, "whole_set"))
      Bad(absl::StrCat("spec.attacks[", i, "].attack.name"),
          absl::StrCat("attack \"", name, "\" looks at all samples together; run it whole"));
  }
}

void SpecChecker::CheckExplain(v1::ExplainSpec& spec) {
  CheckModelSource("spec.model", *spec.mutable_model(), /*training=*/false);
  if (spec.images().empty()) {
    CheckDataSource("spec.data", *spec.mutable_data(), "test");
  } else {
    if (spec.has_data()) Bad("spec.images", "replaces spec.data; give one of them");
    CheckImages(spec, kMaxInlineBytes);
  }
  CheckExplainMaps(spec);
  CheckExplainOutputs(spec);
}

void SpecChecker::CheckInteractive(v1::ExplainSpec& spec) {
  CheckModelSource("spec.model", *spec.mutable_model(), /*training=*/false);
  if (spec.has_data()) Bad("spec.data", "belongs to an explain job; send images in the request");
  if (spec.images().empty()) Bad("spec.images", "is missing: send at least one image");
  CheckImages(spec, kMaxInteractiveBytes);
  CheckExplainMaps(spec);
  if (spec.explainers_size() > 1)
    Bad("spec.explainers", "has more than one; send a request for each, or submit a job");
  CheckInteractiveOutputs(spec);
}

void SpecChecker::CheckExplainMaps(v1::ExplainSpec& spec) {
  if (spec.explainers().empty()) spec.add_explainers()->set_name("grad_cam");
  if (spec.explainers_size() > kMaxExplainers)
    Bad("spec.explainers", absl::StrCat("has more than ", kMaxExplainers));
  for (int i = 0; i < spec.explainers_size(); ++i)
    CheckPlugin(absl::StrCat("spec.explainers[", i, "]"), "explainer", *spec.mutable_explainers(i));
  if (spec.layers_size() > 64) Bad("spec.layers", "has more than 64");
  for (int i = 0; i < spec.layers_size(); ++i) {
    if (spec.layers(i).empty() || spec.layers(i).size() > 255)
      Bad(absl::StrCat("spec.layers[", i, "]"), "must have 1 to 255 bytes");
  }
  CheckExplainTarget(spec);
  if (spec.has_attack()) {
    if (!spec.attack().has_attack()) Bad("spec.attack.attack", "is missing: name an attack");
    CheckAttackChoice("spec.attack.", *spec.mutable_attack()->mutable_attack(),
                      *spec.mutable_attack()->mutable_threat(), /*inner=*/false);
  }
  if (!spec.analyses().empty()) NotServed("spec.analyses", "an analysis in an ExplainJob");
  CheckExplainLooks(spec);
  if (spec.max_pictures() == 0) spec.set_max_pictures(32);
  Range("spec.max_pictures", spec.max_pictures(), 1, 10000);
  Range("spec.max_batch", spec.max_batch(), 0, kMaxBatch);
}

void SpecChecker::CheckImages(const v1::ExplainSpec& spec, size_t max_bytes) {
  if (spec.images_size() > kMaxImages)
    Bad("spec.images", absl::StrCat("has ", spec.images_size(), " images; at most ", kMaxImages));
  size_t bytes = 0;
  for (int i = 0; i < spec.images_size(); ++i) {
    const v1::InlineImage& image = spec.images(i);
    const std::string field = absl::StrCat("spec.images[", i, "]");
    bytes += image.data().size();
    if (image.data().empty()) Bad(absl::StrCat(field, ".data"), "is empty");
    if (image.name().size() > 255) Bad(absl::StrCat(field, ".name"), "is longer than 255 bytes");
    if (image.has_label() && image.label() < 0)
      Bad(absl::StrCat(field, ".label"), "must not be negative");
    if (!image.has_raw_shape()) continue;
    const v1::ImageShape& shape = image.raw_shape();
    const bool sane = shape.channels() >= 1 && shape.channels() <= 4 && shape.height() >= 1 &&
                      shape.height() <= kMaxSide && shape.width() >= 1 && shape.width() <= kMaxSide;
    const size_t pixels = sane ? static_cast<size_t>(shape.channels()) *
                                     static_cast<size_t>(shape.height()) *
                                     static_cast<size_t>(shape.width())
                               : 0;
    if (!sane) {
      Bad(absl::StrCat(field, ".raw_shape"), "needs 1 to 4 channels and sides of 1 to 4096");
    } else if (image.data().size() != pixels && image.data().size() != 4 * pixels) {
      Bad(absl::StrCat(field, ".data"),
          absl::StrCat("has ", image.data().size(), " bytes; raw_shape needs ", pixels,
                       " (uint8) or ", 4 * pixels, " (float32)"));
    }
  }
  if (bytes > max_bytes) {
    Bad("spec.images", absl::StrCat("together have ", bytes, " bytes; at most ", max_bytes,
                                    ". Register them as a dataset instead"));
  }
}

void SpecChecker::CheckExplainTarget(v1::ExplainSpec& spec) {
  if (spec.target() == v1::TARGET_POLICY_UNSPECIFIED)
    spec.set_target(spec.has_class_index() ? v1::GIVEN : v1::PREDICTED);
  if ((spec.target() == v1::GIVEN) != spec.has_class_index())
    Bad("spec.class_index", "belongs to target GIVEN: set both or none");
  if (spec.class_index() < 0) Bad("spec.class_index", "must not be negative");
  if (spec.score() == v1::EXPLAIN_SCORE_UNSPECIFIED) spec.set_score(v1::LOGIT);
  if (spec.contrast_class() < 0) Bad("spec.contrast_class", "must not be negative");
  if (spec.contrast_class() != 0 && spec.score() != v1::CONTRAST)
    Bad("spec.contrast_class", "belongs to score CONTRAST");
  if (spec.target() != v1::TRUE_LABEL) return;
  for (int i = 0; i < spec.images_size(); ++i) {
    if (!spec.images(i).has_label())
      Bad(absl::StrCat("spec.images[", i, "].label"), "is missing: target TRUE_LABEL needs it");
  }
}

void SpecChecker::CheckExplainOutputs(v1::ExplainSpec& spec) {
  if (spec.outputs().empty()) {
    for (const v1::ExplainOutput output : {v1::RAW_MAP, v1::SHEET_PNG, v1::TABLE})
      spec.add_outputs(output);
  }
  for (int i = 0; i < spec.outputs_size(); ++i) {
    const std::string field = absl::StrCat("spec.outputs[", i, "]");
    if (!v1::ExplainOutput_IsValid(spec.outputs(i)) ||
        spec.outputs(i) == v1::EXPLAIN_OUTPUT_UNSPECIFIED) {
      Bad(field, "is unknown");
    } else if (spec.outputs(i) == v1::TOP_CLASSES || spec.outputs(i) == v1::LAYERS) {
      Bad(field, "belongs to the interactive Explain");
    } else if (spec.outputs(i) == v1::REPORT) {
      NotServed(field, "REPORT");
    }
  }
}

void SpecChecker::CheckInteractiveOutputs(v1::ExplainSpec& spec) {
  if (spec.outputs().empty()) {
    for (const v1::ExplainOutput output : {v1::RAW_MAP, v1::OVERLAY_PNG, v1::TOP_CLASSES})
      spec.add_outputs(output);
  }
  bool raw = false;
  bool upsampled = false;
  for (int i = 0; i < spec.outputs_size(); ++i) {
    switch (spec.outputs(i)) {
      case v1::RAW_MAP:
        raw = true;
        break;
      case v1::UPSAMPLED_MAP:
        upsampled = true;
        break;
      case v1::HEATMAP_PNG:
      case v1::OVERLAY_PNG:
      case v1::TOP_CLASSES:
      case v1::LAYERS:
        break;
      default:
        Bad(absl::StrCat("spec.outputs[", i, "]"),
            "must be RAW_MAP, UPSAMPLED_MAP, HEATMAP_PNG, OVERLAY_PNG, TOP_CLASSES or LAYERS");
    }
  }
  if (raw && upsampled) Bad("spec.outputs", "has RAW_MAP and UPSAMPLED_MAP; choose one of them");
}

void SpecChecker::CheckExplainLooks(v1::ExplainSpec& spec) {
  v1::Preprocess& preprocess = *spec.mutable_preprocess();
  if (preprocess.resize() == v1::Preprocess::RESIZE_UNSPECIFIED)
    preprocess.set_resize(v1::Preprocess::EXACT);
  Range("spec.preprocess.resize_to", preprocess.resize_to(), 0, kMaxSide);
  Range("spec.preprocess.pad_value", preprocess.pad_value(), 0, 1);
  v1::Display& display = *spec.mutable_display();
  if (display.colour_map().empty()) display.set_colour_map("viridis");
  if (display.colour_map() != "viridis" && display.colour_map() != "jet" &&
      display.colour_map() != "grey") {
    Bad("spec.display.colour_map", "must be viridis, jet or grey");
  }
  if (!display.has_opacity()) display.set_opacity(0.5);
  Range("spec.display.opacity", display.opacity(), 0, 1);
  if (display.upsampling().empty()) display.set_upsampling("bilinear");
  if (display.upsampling() != "bilinear" && display.upsampling() != "nearest")
    Bad("spec.display.upsampling", "must be bilinear or nearest");
  Range("spec.display.scale", display.scale(), 0, 64);
}

}  // namespace adamant
