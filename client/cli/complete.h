// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "client/cli/command.h"

namespace adamant {

// What can stand in the place of the last of `words`, the begin of which is typed already: commands
// and options from the definition of the command line, names from the server. Never fails and never
// waits long: what cannot be asked is left out.
std::vector<std::string> Complete(const CLI::App& root, const std::vector<std::string>& words,
                                  Session& session);

// The script that makes `shell` (bash, zsh or fish) ask `adamant __complete`; "" for another.
std::string CompletionScript(const std::string& shell);

}  // namespace adamant
