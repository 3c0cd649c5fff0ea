// SPDX-License-Identifier: Apache-2.0
// `adamant config set|use|view`
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/channel.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/names.h"
#include "client/cli/settings.h"
#include "client/cli/table.h"
#include "common/nearest.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

std::string ContextJson(ContextSettings settings, bool current) {
  std::string json = absl::StrCat("{\"current\":", current ? "true" : "false");
  for (const std::string& name : SettingNames()) {
    absl::StrAppend(&json, ",", JsonString(name), ":", JsonString(*FindSetting(settings, name)));
  }
  return json + "}";
}

std::string FileJson(const SettingsFile& file) {
  std::string json;
  for (const auto& [name, settings] : file.contexts) {
    absl::StrAppend(&json, json.empty() ? "" : ",", JsonString(name), ":",
                    ContextJson(settings, name == file.current));
  }
  return absl::StrCat("{\"path\":", JsonString(SettingsFile::Path()),
                      ",\"current\":", JsonString(file.current), ",\"contexts\":{", json, "}}");
}

std::string FileText(const SettingsFile& file, bool wide) {
  std::vector<std::string> header = {"CONTEXT", "CURRENT", "SERVER", "TOKEN FILE", "TLS CA"};
  if (wide) header.insert(header.end(), {"TLS CERT", "TLS KEY"});
  Table table(header);
  const auto cell = [](const std::string& text) { return text.empty() ? "-" : text; };
  for (const auto& [name, settings] : file.contexts) {
    std::vector<std::string> row = {name, name == file.current ? "*" : "", cell(settings.server),
                                    cell(settings.token_file), cell(settings.tls_ca)};
    if (wide) row.insert(row.end(), {cell(settings.tls_cert), cell(settings.tls_key)});
    table.Add(std::move(row));
  }
  return table.empty() ? absl::StrCat("no contexts in ", SettingsFile::Path(),
                                      "; `adamant config set NAME server=HOST:PORT` makes one\n")
                       : table.Render();
}

int Show(const SettingsFile& file, Session& session) {
  return session.FinishJson(FileJson(file), FileText(file, session.format() == OutputFormat::kWide),
                            file.current);
}

absl::Status Assign(const std::string& text, ContextSettings& settings) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  if (parts.size() != 2) return UsageError(absl::StrCat("\"", text, "\" is not SETTING=VALUE"));
  if (parts[0] == "token" || parts[0] == "password" || parts[0] == "secret") {
    return UsageError(
        "secrets never stand on the command line; put the token into a file of mode "
        "0600 and set token_file=PATH");
  }
  std::string* setting = FindSetting(settings, parts[0]);
  if (setting == nullptr) {
    return UsageError(UnknownNameMessage("setting", parts[0], SettingNames()));
  }
  if (parts[0] == "server" && !parts[1].empty()) {
    if (const auto status = CheckAddress(parts[1]); !status.ok()) {
      return UsageError(status.message());
    }
  }
  *setting = parts[1];
  return absl::OkStatus();
}

absl::StatusOr<int> Set(const std::string& name, const std::vector<std::string>& assignments,
                        Session& session) {
  if (!IsResourceId(name)) {
    return UsageError(absl::StrCat("\"", name,
                                   "\" is not a context name: small letters, digits "
                                   "and \"-\", beginning with a letter"));
  }
  ASSIGN_OR_RETURN(SettingsFile file, SettingsFile::Load());
  for (const std::string& assignment : assignments) {
    RETURN_IF_ERROR(Assign(assignment, file.contexts[name]));
  }
  if (file.current.empty()) file.current = name;
  RETURN_IF_ERROR(file.Save());
  session.Note(absl::StrCat("wrote ", SettingsFile::Path()));
  return Show(file, session);
}

absl::StatusOr<int> Use(const std::string& name, Session& session) {
  ASSIGN_OR_RETURN(SettingsFile file, SettingsFile::Load());
  if (!file.contexts.contains(name)) {
    std::vector<std::string> known;
    for (const auto& [context, settings] : file.contexts) known.push_back(context);
    return UsageError(UnknownNameMessage("context", name, known));
  }
  file.current = name;
  RETURN_IF_ERROR(file.Save());
  return Show(file, session);
}

absl::StatusOr<int> View(Session& session) {
  ASSIGN_OR_RETURN(const SettingsFile file, SettingsFile::Load());
  return Show(file, session);
}

}  // namespace

void AddConfig(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("config", "Name the servers you use");
  auto name = std::make_shared<std::string>();
  auto assignments = std::make_shared<std::vector<std::string>>();
  CLI::App* set = group->add_subcommand("set", "Make or change a context");
  set->add_option("CONTEXT", *name, "its name")->required();
  set->add_option("SETTING", *assignments,
                  "SETTING=VALUE: server, token_file, tls_ca, tls_cert, tls_key")
      ->required();
  set->footer(
      "Example:\n  adamant config set lab server=10.0.0.5:50061 tls_ca=ca.pem "
      "token_file=~/.adamant-token");
  commands.push_back({set, "write the configuration",
                      [name, assignments](Session& s) { return Set(*name, *assignments, s); },
                      Effect::kChanges, true});
  CLI::App* use = group->add_subcommand("use", "Make a context the current one");
  use->add_option("CONTEXT", *name, "its name")->required();
  use->footer("Example:\n  adamant config use lab");
  commands.push_back({use, "write the configuration", [name](Session& s) { return Use(*name, s); },
                      Effect::kChanges, true});
  CLI::App* view = group->add_subcommand("view", "Show the contexts");
  view->footer("Example:\n  adamant config view");
  commands.push_back({view, "read the configuration", View, Effect::kRead, true});
}

}  // namespace adamant
