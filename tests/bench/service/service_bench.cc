// SPDX-License-Identifier: Apache-2.0
// service_bench NAME [--n N] [--seed S]: measures one row of service.md 16 on this machine and
// prints one JSON line. service_bench --list names the rows and their targets.
#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "tests/bench/service/bench.h"

namespace adamant::bench {
namespace {

std::vector<BenchRow> AllRows() {
  std::vector<BenchRow> rows;
  for (const auto& some :
       {CallRows(), WatchRows(), TransferRows(), LifeRows(), OverheadRows(), FootprintRows()})
    rows.insert(rows.end(), some.begin(), some.end());
  return rows;
}

void Print(const BenchRow& row, const BenchOptions& options, const BenchResult& result) {
  absl::PrintF(
      "{\"name\":\"%s\",\"n\":%d,\"p50\":%.6g,\"p99\":%.6g,\"value\":%.6g,\"unit\":\"%s\","
      "\"commit\":\"%s\",\"seed\":%d,\"target\":\"%s\",\"note\":\"%s\"}\n",
      row.name, result.n, result.p50, result.p99, result.value, result.unit, ADAMANT_COMMIT,
      options.seed, row.target, result.note);
}

int Main(int argc, char** argv) {
  CLI::App app("measures one row of service.md 16", "service_bench");
  std::string name;
  bool list = false;
  BenchOptions options;
  app.add_option("NAME", name, "the row");
  app.add_option("--n", options.n, "repetitions [those of the row]");
  app.add_option("--seed", options.seed, "of random choices [1]");
  app.add_flag("--list", list, "name the rows");
  CLI11_PARSE(app, argc, argv);
  CatchSignals();
  for (const BenchRow& row : AllRows()) {
    if (list) absl::PrintF("%-22s %s\n", row.name, row.target);
    if (name != row.name) continue;
    Print(row, options, row.run(options));
    return 0;
  }
  if (list) return 0;
  Die("no row \"" + name + "\"; service_bench --list names them");
}

}  // namespace
}  // namespace adamant::bench

int main(int argc, char** argv) { return adamant::bench::Main(argc, argv); }
