// SPDX-License-Identifier: Apache-2.0
#include "client/cli/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "client/cli/duration.h"
#include "client/cli/exit_code.h"
#include "client/cli/html.h"
#include "client/cli/log_lines.h"
#include "client/cli/progress.h"
#include "client/cli/render_error.h"
#include "client/cli/report.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/transfer_view.h"
#include "client/error.h"
#include "google/protobuf/text_format.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

absl::Status FromServer(grpc::StatusCode code) {
  return FromGrpcStatus(grpc::Status(code, "message"));
}

TEST(Table, PadsTextToTheLeftAndNumbersToTheRight) {
  Table table({"NAME", "ACCURACY", "N"});
  table.Add({"pgd", "93.20 %", "7"});
  table.Add({"apgd_ce", "-", "1000"});
  EXPECT_EQ(table.Render("  "),
            "  NAME     ACCURACY     N\n"
            "  pgd       93.20 %     7\n"
            "  apgd_ce         -  1000\n");
}

TEST(Table, KeepsDatesAndEmptyColumnsToTheLeft) {
  Table table({"STARTED", "PROGRESS"});
  table.Add({"2026-01-02 03:04:05", "-"});
  EXPECT_EQ(table.Render(), "STARTED              PROGRESS\n2026-01-02 03:04:05  -\n");
}

TEST(Table, MeasuresCharactersNotBytes) {
  Table table({"A", "B"});
  table.Add({"\xc3\xa9", "x"});
  EXPECT_EQ(table.Render(), "A  B\n\xc3\xa9  x\n");
}

TEST(Fields, AlignValuesAndLeaveOutEmptyOnes) {
  EXPECT_EQ(RenderFields({{"Job", "jobs/a"}, {"Name", ""}, {"State", "QUEUED"}}),
            "Job:    jobs/a\nState:  QUEUED\n");
}

TEST(Text, SaysAnAccuracyWithItsInterval) {
  v1::Accuracy accuracy;
  accuracy.set_correct(932);
  accuracy.set_total(1000);
  accuracy.set_ratio(0.932);
  accuracy.set_low(0.9147);
  accuracy.set_high(0.946);
  EXPECT_EQ(AccuracyText(accuracy), "93.20 % (932 of 1000; 95 % interval 91.47..94.60)");
  EXPECT_EQ(AccuracyText({}), "-");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(SecondsText(3723), "1:02:03");
  EXPECT_EQ(CountText(-1234567), "-1 234 567");
}

TEST(Envelope, HasTheSameFieldsForSuccessAndFailure) {
  EXPECT_EQ(Envelope(absl::OkStatus(), 0, "{\"a\":1}"),
            "{\"schema_version\":1,\"status\":\"ok\",\"exit_code\":0,\"error_code\":\"\","
            "\"data\":{\"a\":1}}\n");
  EXPECT_EQ(Envelope(UsageError("say \"x\""), 2, ""),
            "{\"schema_version\":1,\"status\":\"error\",\"exit_code\":2,\"error_code\":\"USAGE\","
            "\"message\":\"say \\\"x\\\"\",\"data\":null}\n");
}

TEST(MessageJson, PrintsZeros) {
  EXPECT_EQ(MessageJson(v1::Accuracy()),
            "{\"correct\":\"0\",\"total\":\"0\",\"ratio\":0,\"low\":0,\"high\":0}");
}

TEST(ExitCode, FollowsTheKindOfFailure) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("a local file")), 1);
  EXPECT_EQ(ExitCodeOf(UsageError("x")), 2);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::UNAUTHENTICATED)), 4);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::PERMISSION_DENIED)), 4);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::UNAVAILABLE)), 5);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::RESOURCE_EXHAUSTED)), 5);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::DEADLINE_EXCEEDED)), 5);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::INVALID_ARGUMENT)), 6);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::NOT_FOUND)), 6);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::ALREADY_EXISTS)), 6);
  EXPECT_EQ(ExitCodeOf(FromServer(grpc::INTERNAL)), 1);
  EXPECT_EQ(ExitCodeOf(RefusedError("REJECTED")), 6);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("")), 130);
  EXPECT_EQ(GrpcExitCodeOf(FromServer(grpc::NOT_FOUND)), 69);
  EXPECT_EQ(GrpcExitCodeOf(UsageError("x")), 2);
}

TEST(RenderError, SaysWhatFailedWhyAndWhatToDo) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason("UNKNOWN_PLUGIN");
  (*info.mutable_metadata())["name"] = "pdg";
  details.add_details()->PackFrom(info);
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("attacks[0].attack.name");
  bad.mutable_field_violations(0)->set_description("unknown attack \"pdg\"");
  bad.add_field_violations()->set_field("seed");
  bad.mutable_field_violations(1)->set_description("too large");
  details.add_details()->PackFrom(bad);
  const absl::Status status = FromGrpcStatus(
      grpc::Status(grpc::INVALID_ARGUMENT, "2 fields are wrong", details.SerializeAsString()));
  EXPECT_EQ(RenderError("submit the attack", status, "host:1", false),
            "error: cannot submit the attack\n"
            "why:   2 fields are wrong (UNKNOWN_PLUGIN)\n"
            "       - attacks[0].attack.name: unknown attack \"pdg\"\n"
            "       - seed: too large\n"
            "do:    `adamant plugins list` shows every plug-in of this server\n");
  EXPECT_THAT(RenderError("x", status, "host:1", true), HasSubstr("debug: name = pdg\n"));
}

TEST(RenderError, DoesNotRepeatViolationsThatTheMessageHolds) {
  google::rpc::Status details;
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("seed");
  bad.mutable_field_violations(0)->set_description("too large");
  details.add_details()->PackFrom(bad);
  const absl::Status one = FromGrpcStatus(
      grpc::Status(grpc::INVALID_ARGUMENT, "seed: too large", details.SerializeAsString()));
  EXPECT_EQ(RenderError("x", one, "host:1", false),
            "error: cannot x\n"
            "why:   seed: too large (INVALID_ARGUMENT)\n"
            "do:    correct the request; --debug shows all details\n");
}

TEST(RenderError, SaysHowToReachAServerThatIsNotThere) {
  EXPECT_THAT(RenderError("list the jobs", FromServer(grpc::UNAVAILABLE), "host:1", false),
              HasSubstr("is adamantd running at host:1?"));
}

constexpr char kAttackJob[] = R"(
name: "jobs/abc" kind: ATTACK state: SUCCEEDED
spec { attack { confidence_level: 0.95 } }
result { attack {
  model_name: "models/net" model_sha256: "0123456789abcdef" data_name: "datasets/mnist"
  split: "test" selection: "ids 0..999" num_samples: 1000
  clean_accuracy { correct: 982 total: 1000 ratio: 0.982 low: 0.9718 high: 0.9886 }
  robust_accuracy { correct: 920 total: 1000 ratio: 0.92 low: 0.9015 high: 0.9353 }
  robust_of_correct_ratio: 0.93686354 verdict: CAUTION verdict_reason: "V27 only pgd ran"
  checks { id: "V01" name: "input_range" status: PASS severity: SEVERITY_ERROR }
  checks { id: "V27" name: "attack_mix" status: FAIL severity: SEVERITY_WARNING value: 1
    threshold: 3 text: "only pgd ran" }
  forwards: 40000 backwards: 39000 seconds: 12.5
  attacks { position: 0 attack { name: "pgd" } threat { norm: LINF epsilon: 0.3 epsilon_text: "0.3" }
    after_accuracy { correct: 920 total: 1000 ratio: 0.92 } attacked: 982 broken: 62
    broken_first: 60 name: "0.1:pgd"
    forwards: 39000 backwards: 39000 seconds: 12 notes: "step_size = 0.01" }
  classes { label: 0 clean_accuracy { correct: 98 total: 100 ratio: 0.98 }
    robust_accuracy { correct: 90 total: 100 ratio: 0.9 } most_frequent_adv_pred: 6 }
} })";

TEST(Report, OfAnAttackPutsTheVerdictBesideTheHeadline) {
  v1::Job job;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(kAttackJob, &job));
  EXPECT_EQ(
      JobText(job, false),
      "Job:    jobs/abc\n"
      "Kind:   ATTACK\n"
      "State:  SUCCEEDED\n"
      "\n"
      "CAUTION  robust accuracy 92.0 % (upper bound) [90.1, 93.5]\n"
      "  V27 warning: only pgd ran\n"
      "\n"
      "Model:            models/net, sha256 0123456789ab\n"
      "Data:             datasets/mnist, split test, ids 0..999 (1000 samples)\n"
      "Clean accuracy:   98.20 % (982 of 1000; 95 % interval 97.18..98.86)\n"
      "Robust accuracy:  92.00 % (920 of 1000; 95 % interval 90.15..93.53)\n"
      "Classes:          90.00 % on average, class 0 worst with 90.00 %\n"
      "Of the correct:   93.69 % stay robust\n"
      "Work:             40 000 forward and 39 000 backward rows in 12.5 s\n"
      "\n"
      "Attacks (AFTER: robust against this one and all before it; ALONE: against this one; "
      "FIRST: broken by none before)\n"
      "    #  ATTACK  THREAT      AFTER  ALONE  BROKEN  FIRST   OF  FORWARDS  BACKWARDS  SECONDS\n"
      "  0.1  pgd     linf 0.3  92.00 %  -          62     60  982    39 000     39 000       12\n"
      "\n"
      "Notes of attack 0.1\n"
      "  - step_size = 0.01\n");
  EXPECT_THAT(JobText(job, true), HasSubstr("MOSTLY TAKEN FOR"));
  EXPECT_THAT(JobText(job, true), HasSubstr("V01    PASS    input_range"));
}

v1::JobEvent ProgressEvent(int64_t step) {
  v1::JobEvent event;
  event.mutable_progress()->set_phase("train");
  event.mutable_progress()->set_step(step);
  event.mutable_progress()->set_total_steps(100);
  event.mutable_progress()->set_fraction_ratio(step / 100.0);
  return event;
}

TEST(Progress, PrintsALineEveryTenSecondsAndEachEvaluation) {
  absl::Time now = absl::UnixEpoch();
  std::ostringstream err;
  ProgressView view(err, 0, [&] { return now; });
  v1::JobEvent snapshot;
  snapshot.mutable_snapshot()->set_kind(v1::TRAIN);
  snapshot.mutable_snapshot()->set_name("jobs/a");
  snapshot.mutable_snapshot()->set_state(v1::RUNNING);
  view.OnEvent(snapshot);
  view.OnEvent(ProgressEvent(1));
  now += absl::Seconds(9);
  view.OnEvent(ProgressEvent(2));
  now += absl::Seconds(1);
  view.OnEvent(ProgressEvent(3));
  v1::JobEvent metric;
  auto& clean = *metric.mutable_metric()->add_points();
  clean.set_name("clean_accuracy");
  clean.set_value(0.5);
  clean.set_step(3);
  auto& robust = *metric.mutable_metric()->add_points();
  robust.set_name("robust_accuracy");
  robust.set_value(0.25);
  robust.set_step(3);
  view.OnEvent(metric);
  EXPECT_EQ(err.str(),
            "jobs/a is RUNNING\n"
            "train  1 %  step 1/100\n"
            "train  3 %  step 3/100\n"
            "evaluation at step 3:  clean 50.00 %  robust 25.00 %\n");
}

TEST(Progress, SaysNothingOfAWorkerThatOnlyStarts) {
  std::ostringstream err;
  ProgressView view(err, 0);
  v1::JobEvent start;
  start.mutable_progress()->set_phase("start");
  view.OnEvent(start);
  EXPECT_EQ(err.str(), "");
}

TEST(TransferView, PrintsALineEveryTenSecondsAndItsRateAtTheEnd) {
  absl::Time now = absl::UnixEpoch();
  std::ostringstream err;
  TransferView view(err, 0, "net.bin", [&] { return now; });
  view.OnBytes(0, 4 << 20);
  now += absl::Seconds(9);
  view.OnBytes(1 << 20, 4 << 20);
  now += absl::Seconds(1);
  view.OnBytes(2 << 20, 4 << 20);
  now += absl::Seconds(10);
  view.OnBytes(4 << 20, 4 << 20);
  EXPECT_EQ(err.str(), "net.bin  2.0 MiB of 4.0 MiB  204.8 KiB/s  ETA 10.0 s\n");
  EXPECT_EQ(view.Finish("nothing"), "4.0 MiB in 20.0 s (204.8 KiB/s)");
  EXPECT_EQ(TransferView(err, 0, "x").Finish("nothing"), "nothing");
}

TEST(TransferView, SaysWhereAnEarlierTransferIsContinued) {
  std::ostringstream err;
  TransferView view(err, 0, "net.bin");
  view.OnBytes(64 << 20, 128 << 20);
  EXPECT_EQ(err.str(), "net.bin: goes on at 64.0 MiB of 128.0 MiB\n");
}

TEST(LogLines, LeaveOutWhatIsOlderAndKeepOffsets) {
  std::string text;
  std::vector<int64_t> offsets;
  LogLines lines(absl::FromUnixSeconds(1767225601), [&](int64_t offset, absl::string_view line) {
    offsets.push_back(offset);
    text.append(line.data(), line.size());
  });
  lines.Add(100, "2026-01-01T00:00:00Z info old\n  and its second line\n2026-01-01T0");
  lines.Add(164, "0:00:01Z info new\nlast");
  lines.Flush();
  EXPECT_EQ(text, "2026-01-01T00:00:01Z info new\nlast");
  EXPECT_EQ(lines.skipped(), 2);
  EXPECT_EQ(lines.first_offset(), 100);
  EXPECT_EQ(offsets, (std::vector<int64_t>{152, 182}));
}

TEST(Span, ReadsUnitsAndPlainSeconds) {
  EXPECT_EQ(*ParseSpan("--x", "90"), absl::Seconds(90));
  EXPECT_EQ(*ParseSpan("--x", "2h30m"), absl::Minutes(150));
  EXPECT_EQ(*ParseSpan("--x", "7d"), absl::Hours(168));
  EXPECT_EQ(*ParseSpan("--x", "0"), absl::ZeroDuration());
  for (const char* text : {"", "-1", "-5m", "soon", "inf", "d"}) {
    EXPECT_TRUE(IsUsageError(ParseSpan("--x", text).status())) << text;
  }
  const absl::Time now = absl::FromUnixSeconds(1000000);
  EXPECT_EQ(*ParseSince("--since", "10m", now), now - absl::Minutes(10));
  EXPECT_EQ(*ParseSince("--since", "1970-01-01T00:00:05Z", now), absl::FromUnixSeconds(5));
}

TEST(Html, EscapesWhatCouldBecomeMarkup) {
  EXPECT_EQ(Escaped("<b a=\"x\" c='y'>&\x01"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp; ");
  EXPECT_THAT(HtmlTable({"<i>"}, {{"</td>"}}), HasSubstr("<td>&lt;/td&gt;</td>"));
}

TEST(Chart, BreaksTheLineWhereAValueIsNotFinite) {
  const double nan = std::nan("");
  const std::string svg = LineChart(
      "loss", {{"loss", {{0, 1}, {1, 2}, {2, nan}, {3, 1}, {4, 3}, {5, nan}, {6, 2}}}}, false);
  size_t lines = 0;
  for (size_t at = svg.find("<polyline"); at != std::string::npos;
       at = svg.find("<polyline", at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 2u);
  EXPECT_THAT(svg, HasSubstr("<circle"));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(LineChart("loss", {{"loss", {{0, nan}}}}, false), "");
}

TEST(Progress, RedrawsOneLineOnATerminal) {
  std::ostringstream err;
  ProgressView view(err, 60);
  view.OnEvent(ProgressEvent(50));
  EXPECT_EQ(err.str(), "\r[============            ]  50 %  train  step 50/100\033[K");
  view.Clear();
  EXPECT_THAT(err.str(), HasSubstr("\r\033[K"));
}

}  // namespace
}  // namespace adamant
