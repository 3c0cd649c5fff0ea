// SPDX-License-Identifier: Apache-2.0
// A command of the command line: its options (CLI11) and what it does.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/cli/params.h"
#include "client/cli/session.h"

namespace adamant {

// What a command does to the server (or to the config file). kDestroys asks before it acts.
enum class Effect { kRead, kSubmits, kChanges, kDestroys };

// `run` returns the exit code, or the error that is shown in three lines after "cannot ACTION".
struct Command {
  CLI::App* app;
  std::string action;
  std::function<absl::StatusOr<int>(Session&)> run;
  Effect effect = Effect::kRead;
  bool local = false;  // needs no server, and no valid config file
};
using Commands = std::vector<Command>;

// A repeatable option whose occurrences take one value each; CollectTyped returns them in order.
CLI::Option* AddTyped(CLI::App& app, const std::string& flag, const std::string& help);

// The occurrences of all AddTyped options of `app`, in the order of the command line.
std::vector<TypedOption> CollectTyped(const CLI::App& app);

// One function per noun. They add the commands below `root`.
void AddTrain(CLI::App& root, Commands& commands);
void AddAttack(CLI::App& root, Commands& commands);
void AddExplain(CLI::App& root, Commands& commands);
void AddJob(CLI::App& root, Commands& commands);
void AddJobOutput(CLI::App& job, Commands& commands);  // `job logs` and `job metrics`
void AddReport(CLI::App& root, Commands& commands);
void AddBlob(CLI::App& root, Commands& commands);
void AddModel(CLI::App& root, Commands& commands);
void AddDataset(CLI::App& root, Commands& commands);
void AddPlugins(CLI::App& root, Commands& commands);
void AddServer(CLI::App& root, Commands& commands);
void AddConfig(CLI::App& root, Commands& commands);
void AddCompletion(CLI::App& root, Commands& commands);

// The command that was reached, however far parsing came.
const CLI::App& DeepestParsed(const CLI::App& app);
// `adamant job get`.
std::string CommandPath(const CLI::App& app);
// The names of the commands below `app` that are shown to people.
std::vector<std::string> SubcommandNames(const CLI::App& app);
// `--model`, `-f`, ... of the command and of all above it.
std::vector<std::string> OptionNames(const CLI::App& app);

// Runs `adamant ARGUMENTS`; returns the exit code. `interrupt` may be null.
int RunCli(const std::vector<std::string>& arguments, Streams streams, Interrupt* interrupt);

}  // namespace adamant
