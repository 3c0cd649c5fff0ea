// SPDX-License-Identifier: Apache-2.0
// What an ExplainJob stores (explanations.md 5 and 6).
#pragma once

#include <string>
#include <vector>

#include "core/data/image_file.h"
#include "core/run/explain_maps.h"

namespace adamant {

// Facts of the job that every artifact states.
struct ExplainFacts {
  std::string model_digest;
  std::string data_digest;
  ModelShape shape;
  std::vector<std::string> class_names;  // may be empty

  std::string ClassName(int64_t index) const;
};

// The maps of one column as safetensors, schema adamant.maps/1. Maps with a value that is not
// finite are left out. upsampled: also `display` [N,H,W].
std::string MapsFile(const MapColumn& column, const ExplainPlan& plan, const ExplainFacts& facts,
                     bool upsampled);

// One row per map as CSV (RFC 4180), numbers in their shortest form that reads back the same.
std::string TableCsv(const std::vector<MapColumn>& columns);

// The heat-map and the overlay of one map; RGB, `scale` pixels per image pixel.
struct MapPictures {
  PixelImage heatmap;
  PixelImage overlay;
};

// Pictures of all maps of one sample, for one column: [0] clean, [1] adversarial. Both share one
// scale.
std::vector<MapPictures> DrawMaps(const MapColumn& column, int64_t sample,
                                  const PictureSample& images, const ExplainPlan& plan,
                                  int64_t scale);

// Pixels per image pixel so that the longer side has about `side` pixels; at least 1.
int64_t ScaleFor(const ModelShape& shape, int64_t side);

// Galleries of the first samples, at most 64 rows each.
std::vector<PixelImage> DrawSheets(const ExplainedSamples& explained, const ExplainPlan& plan,
                                   const ExplainFacts& facts);

}  // namespace adamant
