// SPDX-License-Identifier: Apache-2.0
// The HTML report.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using testing::FakeBlobs;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Cli, ReportIsOnePageThatEscapesAndNeedsNothingFromOutside) {
  v1::Job& job = server_.jobs.job;
  job.set_kind(v1::ATTACK);
  job.mutable_options()->set_display_name("<script>alert(1)</script>");
  v1::AttackReport& report = *job.mutable_result()->mutable_attack();
  report.set_model_name("models/<b>net</b>");
  for (v1::Accuracy* accuracy :
       {report.mutable_clean_accuracy(), report.mutable_robust_accuracy()}) {
    accuracy->set_total(1000);
    accuracy->set_correct(920);
    accuracy->set_ratio(0.92);
    accuracy->set_low(0.9015);
    accuracy->set_high(0.9353);
  }
  report.add_attacks()->mutable_attack()->set_name("pgd");
  report.add_classes()->set_label(7);
  server_.jobs.points.resize(2);
  for (int i = 0; i < 2; ++i) {
    server_.jobs.points[i].set_name("robust_accuracy");
    server_.jobs.points[i].set_step(i);
    server_.jobs.points[i].set_value(0.5 * i);
  }
  v1::Artifact& picture = *job.add_artifacts();
  picture.set_media_type("image/png");
  picture.set_name("overlay.png");
  *picture.mutable_blob() = FakeBlobs::RefOf("png bytes");
  server_.blobs.Add("png bytes");
  const std::string path = Path("report.html");
  EXPECT_EQ(Run({"report", kJob, "--out", path, "--images"}), 0) << err_.str();
  const std::string html = *ReadFile(path);
  EXPECT_THAT(html, HasSubstr("92.00 %"));
  EXPECT_THAT(html, HasSubstr("95 % interval 90.15 to 93.53 %"));
  EXPECT_THAT(html, HasSubstr("<polyline"));
  EXPECT_THAT(html, HasSubstr("data:image/png;base64,cG5nIGJ5dGVz"));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("<b>net")));
  EXPECT_THAT(html, Not(HasSubstr("http://")));
  EXPECT_THAT(html, Not(HasSubstr("https://")));
  EXPECT_EQ(Run({"report", kJob, "--out", path}), 1);
  EXPECT_EQ(Run({"report", kJob, kJob, "--out", path, "--force"}), 0);
  job.set_state(v1::RUNNING);
  EXPECT_EQ(Run({"report", kJob, "--out", path, "--force"}), 6);
}

}  // namespace
}  // namespace adamant
