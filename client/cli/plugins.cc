// SPDX-License-Identifier: Apache-2.0
// `adamant plugins list|show`
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/nearest.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

std::string DefaultText(const v1::ParamInfo& param) {
  if (!param.has_default_value()) return "required";
  const std::string json = MessageJson(param.default_value());
  return json.empty() ? "-" : json;
}

std::string RangeText(const v1::ParamInfo& param) {
  if (!param.choices().empty()) return absl::StrJoin(param.choices(), " | ");
  if (!param.has_min() && !param.has_max()) return "-";
  return absl::StrCat("[", param.has_min() ? absl::StrCat(param.min()) : "-inf", ", ",
                      param.has_max() ? absl::StrCat(param.max()) : "inf", "]");
}

std::string PluginInfoText(const std::string& family, const v1::PluginInfo& plugin) {
  std::string text = RenderFields({{family, plugin.name()},
                                   {"Summary", plugin.summary()},
                                   {"Paper", plugin.paper()},
                                   {"Norms", absl::StrJoin(plugin.norms(), ", ")},
                                   {"Traits", absl::StrJoin(plugin.traits(), ", ")}});
  Table params({"PARAMETER", "TYPE", "DEFAULT", "RANGE", "MEANING"});
  for (const v1::ParamInfo& param : plugin.params()) {
    params.Add({param.name(), absl::AsciiStrToLower(v1::ParamType_Name(param.type())),
                DefaultText(param), RangeText(param), param.doc()});
  }
  if (!params.empty()) absl::StrAppend(&text, "\n", params.Render());
  for (const v1::ParamPreset& preset : plugin.presets()) {
    v1::PluginSpec spec;
    spec.set_name(preset.name());
    *spec.mutable_params() = preset.params();
    absl::StrAppend(&text, "preset ", PluginText(spec), "\n");
  }
  return text;
}

absl::StatusOr<int> List(const std::string& wanted, Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(v1::Capabilities capabilities, client->GetCapabilities());
  std::vector<std::string> families;
  std::vector<std::string> names;
  v1::Capabilities shown = capabilities;
  shown.clear_families();
  std::string text;
  for (const v1::PluginFamily& family : capabilities.families()) {
    families.push_back(family.name());
    if (!wanted.empty() && family.name() != wanted) continue;
    *shown.add_families() = family;
    Table table({absl::AsciiStrToUpper(family.name()), "SUMMARY"});
    for (const v1::PluginInfo& plugin : family.plugins()) {
      table.Add({plugin.name(), plugin.summary()});
      names.push_back(plugin.name());
    }
    absl::StrAppend(&text, text.empty() ? "" : "\n", table.Render());
  }
  if (!wanted.empty() && shown.families().empty()) {
    return UsageError(UnknownNameMessage("family", wanted, families));
  }
  return session.FinishRows(shown, shown.families(), text, absl::StrJoin(names, "\n"));
}

absl::StatusOr<int> Show(const std::string& name, Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Capabilities capabilities, client->GetCapabilities());
  std::vector<std::string> known;
  v1::Capabilities found;
  std::string text;
  for (const v1::PluginFamily& family : capabilities.families()) {
    for (const v1::PluginInfo& plugin : family.plugins()) {
      known.push_back(plugin.name());
      if (plugin.name() != name) continue;
      v1::PluginFamily& entry = *found.add_families();
      entry.set_name(family.name());
      *entry.add_plugins() = plugin;
      absl::StrAppend(&text, text.empty() ? "" : "\n", PluginInfoText(family.name(), plugin));
    }
  }
  if (found.families().empty()) return RefusedError(UnknownNameMessage("plug-in", name, known));
  return session.Finish(found, text, name);
}

}  // namespace

void AddPlugins(CLI::App& root, Commands& commands) {
  CLI::App* group =
      root.add_subcommand("plugins", "Show the readers, models, attacks and methods of the server");
  auto family = std::make_shared<std::string>();
  CLI::App* list = group->add_subcommand("list", "List all plug-ins by family");
  list->add_option("--family", *family, "dataset, model, attack, objective, explainer or analysis");
  list->footer("Example:\n  adamant plugins list --family attack");
  commands.push_back(
      {list, "list the plug-ins", [family](Session& session) { return List(*family, session); }});

  auto name = std::make_shared<std::string>();
  CLI::App* show = group->add_subcommand("show", "Show the parameters of a plug-in");
  show->add_option("NAME", *name, "e.g. pgd")->required();
  show->footer("Example:\n  adamant plugins show pgd");
  commands.push_back(
      {show, "show the plug-in", [name](Session& session) { return Show(*name, session); }});
}

}  // namespace adamant
