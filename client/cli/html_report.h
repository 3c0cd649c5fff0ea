// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

struct ReportPicture {
  std::string name, media_type, bytes;
};

// A job with what was fetched for it.
struct ReportJob {
  v1::Job job;
  std::vector<v1::MetricPoint> points;
  std::vector<ReportPicture> pictures;
};

// One page about the jobs, whole in itself: no scripts, no addresses. `made` is the line at its
// end.
std::string HtmlReport(const std::vector<ReportJob>& jobs, absl::string_view made);

}  // namespace adamant
