// SPDX-License-Identifier: Apache-2.0
// Named contexts in the user's config folder, and which server a run of the command line talks to.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace adamant {

// How to reach a server. Secrets stay in files; these are their paths.
struct ContextSettings {
  std::string server;
  std::string token_file;
  std::string tls_ca, tls_cert, tls_key;
};

// The names of the settings of a context, as `config set` takes them.
std::vector<std::string> SettingNames();
// The setting called `name`, or nullptr.
std::string* FindSetting(ContextSettings& settings, absl::string_view name);

// The config file: adamant/config.yaml in XDG_CONFIG_HOME or ~/.config.
struct SettingsFile {
  std::string current;  // the context that is used without --context
  std::map<std::string, ContextSettings> contexts;

  static std::string Path();
  // An absent file is an empty one. A usage error with the line for a malformed one.
  static absl::StatusOr<SettingsFile> Load();
  // Writes it with mode 0600, making the folder when needed.
  absl::Status Save() const;
};

struct Connection {
  ContextSettings settings;
  std::string server_from;  // "--server", "ADAMANT_SERVER", "context lab", "default"
};

// Flag > environment > context > default. The credentials of a context go to its own server only.
// A usage error for a context that does not exist.
absl::StatusOr<Connection> ResolveConnection(const std::string& server_flag,
                                             const std::string& context_flag);

}  // namespace adamant
