// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/scrubber.h"

#include <algorithm>
#include <vector>

#include "common/status_macros.h"

namespace adamant {

absl::StatusOr<ScrubResult> Scrub(BlobStore& blobs, const ScrubOptions& options) {
  ASSIGN_OR_RETURN(std::vector<v1::BlobRef> objects, blobs.List(absl::InfiniteFuture()));
  std::sort(objects.begin(), objects.end(),
            [](const v1::BlobRef& a, const v1::BlobRef& b) { return a.sha256() < b.sha256(); });
  const auto first = std::find_if(
      objects.begin(), objects.end(),
      [&options](const v1::BlobRef& blob) { return blob.sha256() > options.begin_after; });
  std::rotate(objects.begin(), first, objects.end());
  int64_t total = 0;
  for (const v1::BlobRef& blob : objects) total += blob.size_bytes();
  const double rate = std::clamp(static_cast<double>(total) / absl::ToDoubleSeconds(options.pass),
                                 static_cast<double>(options.min_bytes_per_second),
                                 static_cast<double>(options.max_bytes_per_second));
  ScrubResult result;
  for (const v1::BlobRef& blob : objects) {
    bool stopped = false;
    const absl::Status verified = blobs.Scrub(blob, [&](int64_t bytes) {
      result.bytes += bytes;
      stopped = !options.wait(absl::Seconds(static_cast<double>(bytes) / rate));
      return !stopped;
    });
    if (stopped) break;
    result.objects += 1;
    if (absl::IsDataLoss(verified)) result.corrupt += 1;
  }
  return result;
}

}  // namespace adamant
