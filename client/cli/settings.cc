// SPDX-License-Identifier: Apache-2.0
#include "client/cli/settings.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "common/files.h"
#include "common/nearest.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

namespace fs = std::filesystem;

constexpr char kDefaultServer[] = "127.0.0.1:50061";

struct Setting {
  const char* name;
  const char* variable;
  std::string ContextSettings::* field;
};
constexpr Setting kSettings[] = {
    {"server", "ADAMANT_SERVER", &ContextSettings::server},
    {"token_file", "ADAMANT_TOKEN_FILE", &ContextSettings::token_file},
    {"tls_ca", "ADAMANT_TLS_CA", &ContextSettings::tls_ca},
    {"tls_cert", "ADAMANT_TLS_CERT", &ContextSettings::tls_cert},
    {"tls_key", "ADAMANT_TLS_KEY", &ContextSettings::tls_key},
};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::Status ReadContext(const std::string& name, const YAML::Node& node,
                         ContextSettings& settings) {
  if (!node.IsMap()) return UsageError(absl::StrCat("context ", name, " holds no settings"));
  for (const auto& entry : node) {
    const std::string key = entry.first.Scalar();
    std::string* setting = FindSetting(settings, key);
    if (setting == nullptr) {
      return UsageError(
          UnknownNameMessage(absl::StrCat("setting of context ", name), key, SettingNames()));
    }
    *setting = entry.second.Scalar();
  }
  return absl::OkStatus();
}

absl::StatusOr<SettingsFile> Parse(const std::string& text) {
  SettingsFile file;
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return file;
    if (!root.IsMap()) return UsageError("it holds no settings");
    for (const auto& entry : root) {
      const std::string key = entry.first.Scalar();
      if (key == "current") {
        file.current = entry.second.Scalar();
      } else if (key == "contexts" && entry.second.IsMap()) {
        for (const auto& context : entry.second) {
          const std::string name = context.first.Scalar();
          RETURN_IF_ERROR(ReadContext(name, context.second, file.contexts[name]));
        }
      } else if (key != "contexts") {
        return UsageError(UnknownNameMessage("key", key, {"current", "contexts"}));
      }
    }
  } catch (const YAML::Exception& error) {
    return UsageError(absl::StrCat("line ", error.mark.line + 1, ": ", error.msg));
  }
  return file;
}

// Replaces the file in one step; it never exists with a wider mode.
absl::Status WritePrivately(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".tmp";
  Descriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("cannot write ", temporary));
  if (fchmod(file.get(), 0600) != 0) return ErrnoStatus(errno, "cannot set the mode 0600");
  RETURN_IF_ERROR(WriteAll(file.get(), text));
  if (fsync(file.get()) != 0) return ErrnoStatus(errno, absl::StrCat("cannot sync ", temporary));
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("cannot rename ", temporary));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> SettingNames() {
  std::vector<std::string> names;
  for (const Setting& setting : kSettings) names.emplace_back(setting.name);
  return names;
}

std::string* FindSetting(ContextSettings& settings, absl::string_view name) {
  for (const Setting& setting : kSettings) {
    if (name == setting.name) return &(settings.*setting.field);
  }
  return nullptr;
}

std::string SettingsFile::Path() {
  std::string folder = Environment("XDG_CONFIG_HOME");
  if (folder.empty()) folder = absl::StrCat(Environment("HOME"), "/.config");
  return absl::StrCat(folder, "/adamant/config.yaml");
}

absl::StatusOr<SettingsFile> SettingsFile::Load() {
  const auto text = ReadFile(Path());
  if (absl::IsNotFound(text.status())) return SettingsFile();
  RETURN_IF_ERROR(text.status());
  auto file = Parse(*text);
  if (!file.ok()) return UsageError(absl::StrCat(Path(), ": ", file.status().message()));
  return file;
}

absl::Status SettingsFile::Save() const {
  YAML::Emitter out;
  out << YAML::BeginMap;
  if (!current.empty()) out << YAML::Key << "current" << YAML::Value << current;
  out << YAML::Key << "contexts" << YAML::Value << YAML::BeginMap;
  for (const auto& [name, settings] : contexts) {
    out << YAML::Key << name << YAML::Value << YAML::BeginMap;
    for (const Setting& setting : kSettings) {
      const std::string& value = settings.*setting.field;
      if (!value.empty()) out << YAML::Key << setting.name << YAML::Value << value;
    }
    out << YAML::EndMap;
  }
  out << YAML::EndMap << YAML::EndMap;
  const std::string path = Path();
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) {
    return absl::UnknownError(
        absl::StrCat("cannot make the folder of ", path, ": ", error.message()));
  }
  return WritePrivately(path, absl::StrCat(out.c_str(), "\n"));
}

absl::StatusOr<Connection> ResolveConnection(const std::string& server_flag,
                                             const std::string& context_flag) {
  ASSIGN_OR_RETURN(const SettingsFile file, SettingsFile::Load());
  const std::string name = context_flag.empty() ? file.current : context_flag;
  Connection connection;
  if (!name.empty()) {
    const auto found = file.contexts.find(name);
    if (found == file.contexts.end()) {
      std::vector<std::string> known;
      for (const auto& [context, settings] : file.contexts) known.push_back(context);
      return UsageError(absl::StrCat(UnknownNameMessage("context", name, known),
                                     "; `adamant config set` makes one"));
    }
    connection.settings = found->second;
    connection.server_from = absl::StrCat("context ", name);
  }
  const std::string variable = Environment("ADAMANT_SERVER");
  const std::string& override = server_flag.empty() ? variable : server_flag;
  if (!override.empty() && override != connection.settings.server) connection.settings = {};
  for (const Setting& setting : kSettings) {
    const std::string value = Environment(setting.variable);
    if (!value.empty()) connection.settings.*setting.field = value;
  }
  if (!override.empty()) {
    connection.settings.server = override;
    connection.server_from = server_flag.empty() ? "ADAMANT_SERVER" : "--server";
  }
  if (connection.settings.server.empty()) {
    connection.settings.server = kDefaultServer;
    connection.server_from = "default";
  }
  return connection;
}

}  // namespace adamant
