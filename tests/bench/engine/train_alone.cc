// SPDX-License-Identifier: Apache-2.0
// train_alone SPEC_FILE THREADS: runs a serialised v1.TrainSpec on built-in data in this process,
// with reports that go nowhere, and prints the seconds of its training. What the service is
// compared with.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"
#include "common/files.h"
#include "core/engine.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

constexpr ModelShape kShape{1, 28, 28, 10};  // of `shapes`

int Fail(absl::string_view why) {
  std::fprintf(stderr, "train_alone: %s\n", std::string(why).c_str());
  return 1;
}

int Main(int argc, char** argv) {
  int threads = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[2], &threads)) return Fail("wants SPEC_FILE THREADS");
  const absl::StatusOr<std::string> bytes = ReadFile(argv[1]);
  if (!bytes.ok()) return Fail(bytes.status().message());
  v1::TrainSpec spec;
  if (!spec.ParseFromString(*bytes)) return Fail("the file holds no TrainSpec");
  engine::Prepare(threads);
  MemoryRunContext context;
  context.UseFreshModel(spec.model().architecture(), kShape);
  context.UseBuiltin("train", spec.train().builtin());
  v1::TrainReport report;
  const absl::Status status = engine::Train(spec, context, report);
  if (!status.ok()) return Fail(status.message());
  std::printf("%.6f\n", report.train_seconds());
  return 0;
}

}  // namespace
}  // namespace adamant

// LibTorch's thread pools must not be torn down while they are in use.
int main(int argc, char** argv) {
  const int code = adamant::Main(argc, argv);
  std::fflush(stdout);
  std::_Exit(code);
}
