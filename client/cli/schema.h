// SPDX-License-Identifier: Apache-2.0
// Descriptions made from the CLI11 definition: --schema for programs, help topics for people.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command.h"

namespace adamant {

// The command that `arguments` name, found without parsing them: required options may be missing.
const CLI::App& FindCommand(const CLI::App& root, const std::vector<std::string>& arguments);

// One JSON object on one line: {command, summary, mutating, idempotent, destructive, arguments[],
// commands[]}. `command` is null for a group, which lists what is below it.
std::string SchemaJson(const CLI::App& app, const Commands& commands);

// The help of `app` as --help prints it.
std::string HelpText(const CLI::App& app);

// `help` without topics prints the commands; a topic is a command or one of our own pages.
absl::StatusOr<std::string> HelpOn(const CLI::App& root, const std::vector<std::string>& topics);

}  // namespace adamant
