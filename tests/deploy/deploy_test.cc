// SPDX-License-Identifier: Apache-2.0
// What deploy/ ships fits the server: every query uses metrics and labels that it exposes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/exposition.h"
#include "tests/support/metrics_table.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

using namespace ::adamant::testing;  // NOLINT: helpers of the tests

struct Query {
  std::string where;  // the alert or the panel
  std::string expr;
};

// Metrics that Prometheus and its exporters make, and labels that a scrape adds.
const std::set<std::string> kForeign = {"up", "probe_ssl_earliest_cert_expiry"};
const std::set<std::string> kScrapeLabels = {"job", "instance", "le"};

std::string Deploy(const std::string& path) {
  return absl::StrCat(ADAMANT_SOURCE, "/deploy/", path);
}

std::vector<Query> RuleQueries() {
  std::vector<Query> queries;
  for (const YAML::Node& group : YAML::LoadFile(Deploy("prometheus/adamant.rules.yml"))["groups"]) {
    for (const YAML::Node& rule : group["rules"])
      queries.push_back({rule["alert"].as<std::string>(), rule["expr"].as<std::string>()});
  }
  return queries;
}

YAML::Node Dashboard() { return YAML::LoadFile(Deploy("grafana/adamant.json")); }

// As Prometheus would get them.
std::vector<Query> PanelQueries() {
  std::vector<Query> queries;
  for (const YAML::Node& panel : Dashboard()["panels"]) {
    if (!panel["targets"]) continue;
    for (const YAML::Node& target : panel["targets"]) {
      queries.push_back({panel["title"].as<std::string>(),
                         absl::StrReplaceAll(target["expr"].as<std::string>(),
                                             {{"$__rate_interval", "5m"}, {"$instance", ".*"}})});
    }
  }
  return queries;
}

// The metrics of a query with the text between their braces. Names are the words in front of a
// brace, or those of the server; label lists of by, on and without are cut first.
std::vector<std::pair<std::string, std::string>> Selectors(std::string expr) {
  static const std::regex kLabelLists(R"(\b(by|on|without|ignoring)\s*\([^)]*\))");
  expr = std::regex_replace(expr, kLabelLists, " ");
  static const std::regex kSelector(R"(([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{([^}]*)\}|\(|\b))");
  static const std::set<std::string> kWords = {"and", "or", "unless", "m", "h", "d", "s", "bool"};
  std::vector<std::pair<std::string, std::string>> selectors;
  std::string rest = expr;
  for (std::smatch match; std::regex_search(rest, match, kSelector); rest = match.suffix().str()) {
    const bool call = match[2].str() == "(";
    const bool number = match.position(0) > 0 && std::isdigit(rest[match.position(0) - 1]) != 0;
    if (!call && !number && kWords.count(match[1].str()) == 0)
      selectors.emplace_back(match[1].str(), match[3].str());
  }
  return selectors;
}

// Labels of each metric with their values.
std::map<std::string, std::map<std::string, std::set<std::string>>> KnownLabels(
    const Exposition& shown) {
  static const std::regex kLabel("([a-z_]+)=\"([^\"]*)\"");
  std::map<std::string, std::map<std::string, std::set<std::string>>> known;
  for (const auto& [series, value] : shown.values()) {
    auto& labels = known[Exposition::NameOf(series)];
    for (std::sregex_iterator it(series.begin(), series.end(), kLabel), end; it != end; ++it)
      labels[(*it)[1].str()].insert((*it)[2].str());
  }
  return known;
}

// "" or what is wrong with the matchers of one selector.
std::string CheckMatchers(const std::string& matchers,
                          const std::map<std::string, std::set<std::string>>& labels) {
  static const std::regex kMatcher("([a-zA-Z_]+)\\s*(=~|!~|!=|=)\\s*\"([^\"]*)\"");
  for (std::sregex_iterator it(matchers.begin(), matchers.end(), kMatcher), end; it != end; ++it) {
    const std::string name = (*it)[1].str();
    if (kScrapeLabels.count(name) > 0) continue;
    const auto found = labels.find(name);
    if (found == labels.end()) return absl::StrCat("it has no label ", name);
    const std::string wanted = (*it)[3].str();
    const bool pattern = absl::EndsWith((*it)[2].str(), "~");
    // Every alternative of a pattern without parentheses must be there by itself.
    std::vector<std::string> values = {wanted};
    if (pattern && wanted.find('(') == wanted.npos) values = absl::StrSplit(wanted, '|');
    for (const std::string& one : values) {
      const std::regex expected(pattern ? one : std::regex_replace(one, std::regex("[.]"), "[.]"));
      bool matched = false;
      for (const std::string& value : found->second)
        matched = matched || std::regex_match(value, expected);
      if (!matched) return absl::StrCat("label ", name, " is never ", one);
    }
  }
  return "";
}

// The problems of queries against what the server exposes.
std::vector<std::string> Problems(const std::vector<Query>& queries) {
  Metrics metrics(LargestOptions());
  AddLargestMachine(metrics);
  for (int code = 0; code < 17; ++code) {
    metrics.RpcStarted("/adamant.v1.RobustnessService/GetJob");
    metrics.RpcHandled("/adamant.v1.RobustnessService/GetJob", code, 0.1);
  }
  const auto known = KnownLabels(Exposition(metrics.Text()));
  std::vector<std::string> problems;
  for (const Query& query : queries) {
    for (const auto& [name, matchers] : Selectors(query.expr)) {
      if (kForeign.count(name) > 0) continue;
      const auto found = known.find(name);
      const std::string problem = found == known.end() ? "the server has no such metric"
                                                       : CheckMatchers(matchers, found->second);
      if (!problem.empty())
        problems.push_back(absl::StrCat(query.where, ": ", name, "{", matchers, "}: ", problem));
    }
  }
  return problems;
}

// Exit code of a command; its output goes to the test's.
int Shell(const std::string& command) { return std::system(command.c_str()); }

std::string Promtool() {
  const std::string path = absl::StrCat(ADAMANT_SOURCE, "/.deps/promtool/promtool");
  return std::filesystem::exists(path) ? path : "";
}

TEST(Deploy, AlertsUseOnlyMetricsOfTheServer) {
  EXPECT_THAT(Problems(RuleQueries()), ::testing::IsEmpty());
}

TEST(Deploy, PanelsUseOnlyMetricsOfTheServer) {
  EXPECT_THAT(Problems(PanelQueries()), ::testing::IsEmpty());
}

TEST(Deploy, TheCheckFindsUnknownMetricsLabelsAndValues) {
  EXPECT_EQ(
      Problems({{"a", "rate(adamant_no_such_total[5m])"},
                {"b", "sum by (kind) (adamant_jobs{state=\"queue\"})"},
                {"c", "adamant_jobs{gpu=\"0\"} > 5 and on (x) up"},
                {"d", "adamant_jobs{state=~\"queued|runing\"}"},
                {"e", "sum by (le) (rate(adamant_job_run_seconds_bucket{kind=\"train\"}[5m]))"}})
          .size(),
      4u);
}

TEST(Deploy, EveryMetricOfTheTableIsOnTheDashboard) {
  std::set<std::string> shown;
  for (const Query& query : PanelQueries()) {
    for (const auto& [name, matchers] : Selectors(query.expr)) {
      shown.insert(name);
      for (const char* suffix : {"_bucket", "_sum", "_count"})
        shown.insert(std::string(absl::StripSuffix(name, suffix)));
    }
  }
  std::set<std::string> missing;
  for (const Budget& budget : MetricsTable()) {
    for (const std::string& name : budget.names) {
      if (shown.count(name) == 0) missing.insert(name);
    }
  }
  EXPECT_EQ(missing, std::set<std::string>({"process_virtual_memory_bytes"}));
}

TEST(Deploy, HasEveryAlertOfTheContract) {
  std::set<std::string> alerts;
  for (const Query& query : RuleQueries()) alerts.insert(query.where);
  for (const char* name :
       {"ServerDown",          "ServerNotReady",      "JobQueueStuck",     "QueueWaitHigh",
        "JobFailureRatioHigh", "NoSuccessfulJob",     "RpcErrorRatioHigh", "RpcLatencyHigh",
        "WorkerCrashLoop",     "GpuUnhealthy",        "GpuMemoryLeak",     "GpuIdleWhileQueued",
        "FencedWrites",        "BlobStoreNearlyFull", "BlobCorruption",    "WatchLagHigh",
        "StoreSlow",           "NonFiniteLoss",       "CertificateExpiry", "InsecureBind"})
    EXPECT_EQ(alerts.count(name), 1u) << name;
}

TEST(Deploy, AlertsSayHowBadAndWhatToDo) {
  for (const YAML::Node& group : YAML::LoadFile(Deploy("prometheus/adamant.rules.yml"))["groups"]) {
    for (const YAML::Node& rule : group["rules"]) {
      const std::string severity = rule["labels"]["severity"].as<std::string>("");
      EXPECT_TRUE(severity == "page" || severity == "ticket") << rule["alert"];
      EXPECT_TRUE(rule["annotations"]["summary"] && rule["annotations"]["description"])
          << rule["alert"];
    }
  }
}

TEST(Deploy, TheDashboardHasItsRowsAndEveryPanelSaysWhatItShows) {
  std::vector<std::string> rows;
  std::set<int> ids;
  for (const YAML::Node& panel : Dashboard()["panels"]) {
    const std::string title = panel["title"].as<std::string>();
    EXPECT_TRUE(ids.insert(panel["id"].as<int>()).second) << title;
    if (panel["type"].as<std::string>() == "row") {
      rows.push_back(title);
      continue;
    }
    EXPECT_GT(panel["description"].as<std::string>("").size(), 10u) << title;
    if (panel["targets"]) {
      EXPECT_TRUE(panel["fieldConfig"]["defaults"]["unit"]) << title;
    }
  }
  EXPECT_THAT(rows, ::testing::ElementsAre("Status", "Queue", "Jobs", "Training live",
                                           "Attack and explain", "GPU", "API", "Blobs and store"));
}

TEST(Deploy, PanelsDoNotOverlap) {
  std::map<std::pair<int, int>, std::string> taken;
  for (const YAML::Node& panel : Dashboard()["panels"]) {
    const YAML::Node& at = panel["gridPos"];
    const std::string title = panel["title"].as<std::string>();
    EXPECT_LE(at["x"].as<int>() + at["w"].as<int>(), 24) << title;
    for (int x = 0; x < at["w"].as<int>(); ++x) {
      for (int y = 0; y < at["h"].as<int>(); ++y) {
        const auto [other, free] =
            taken.try_emplace({at["x"].as<int>() + x, at["y"].as<int>() + y}, title);
        ASSERT_TRUE(free) << title << " overlaps " << other->second;
      }
    }
  }
}

TEST(Deploy, PromtoolAcceptsTheConfigurationAndTheRules) {
  if (Promtool().empty()) GTEST_SKIP() << "scripts/setup unpacks promtool";
  EXPECT_EQ(Shell(absl::StrCat(Promtool(), " check config ", Deploy("prometheus/prometheus.yml"))),
            0);
}

TEST(Deploy, AlertsFireWhenTheyShould) {
  if (Promtool().empty()) GTEST_SKIP() << "scripts/setup unpacks promtool";
  EXPECT_EQ(Shell(absl::StrCat(Promtool(), " test rules ", ADAMANT_SOURCE,
                               "/tests/deploy/rules_test.yml")),
            0);
}

TEST(Deploy, PromtoolAcceptsEveryQueryOfTheDashboard) {
  if (Promtool().empty()) GTEST_SKIP() << "scripts/setup unpacks promtool";
  YAML::Node rules;
  int number = 0;
  for (const Query& query : PanelQueries()) {
    YAML::Node rule;
    rule["record"] = absl::StrCat("panel:", ++number);
    rule["expr"] = query.expr;
    rules.push_back(rule);
  }
  YAML::Node group;
  group["name"] = "dashboard";
  group["rules"] = rules;
  YAML::Node file;
  file["groups"].push_back(group);
  const TemporaryFolder folder;
  std::ofstream((folder.path() + "/rules.yml")) << file;
  EXPECT_EQ(Shell(absl::StrCat(Promtool(), " check rules ", (folder.path() + "/rules.yml"))), 0);
}

// The value of a key of the unit file.
std::string UnitValue(const std::string& key) {
  std::ifstream unit(Deploy("systemd/adamantd.service"));
  for (std::string line; std::getline(unit, line);) {
    if (absl::StartsWith(line, key + "=")) return line.substr(key.size() + 1);
  }
  return "";
}

TEST(Deploy, TheUnitWaitsForReadinessAndForTheDrain) {
  EXPECT_EQ(UnitValue("Type"), "notify");
  EXPECT_EQ(UnitValue("KillMode"), "mixed");              // workers stop at a checkpoint first
  EXPECT_GE(std::stoi(UnitValue("TimeoutStopSec")), 30);  // a drain takes at most 25 s
  EXPECT_EQ(UnitValue("RestartPreventExitStatus"), "2 3 4");
}

}  // namespace
}  // namespace adamant
