// SPDX-License-Identifier: Apache-2.0
#include "client/cli/schema.h"

#include <algorithm>
#include <map>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/exit_code.h"
#include "common/nearest.h"

namespace adamant {
namespace {

constexpr char kOutputHelp[] =
    "stdout holds data only; hints, progress and errors go to stderr.\n\n"
    "  -o table   for people (default); -o wide adds columns and every default\n"
    "  -o json    one envelope: "
    "{\"schema_version\":1,\"status\":\"ok\"|\"error\",\"exit_code\":N,\n"
    "             \"error_code\":\"REASON\"|\"\",\"data\":{...}}; after an error also \"message\"\n"
    "  -o jsonl   one object per line: the rows of a list, the events of a watch, the lines of a\n"
    "             log; the last line has \"terminal\":true\n"
    "  -o name    names only, one per line\n\n"
    "`adamant COMMAND --schema` prints the command's machine description.\n"
    "NO_COLOR and TERM=dumb switch colours off; TERM=dumb also bars.\n";

constexpr char kEnvironmentHelp[] =
    "Which server: --server, else ADAMANT_SERVER, else the context (--context, else the current\n"
    "one), else 127.0.0.1:50061. -v says which was taken.\n\n"
    "  ADAMANT_SERVER       host:port or unix:path\n"
    "  ADAMANT_TOKEN_FILE   file with the bearer token\n"
    "  ADAMANT_TLS_CA       PEM file; TLS is used when one of the three is set\n"
    "  ADAMANT_TLS_CERT     client certificate\n"
    "  ADAMANT_TLS_KEY      its key\n"
    "  XDG_CONFIG_HOME      contexts are in adamant/config.yaml below it, else below ~/.config\n"
    "  XDG_CACHE_HOME       what completion remembers for 60 s, else below ~/.cache\n"
    "  NO_COLOR             any value: no colours\n\n"
    "Secrets never stand on the command line. The credentials of a context go to its server "
    "only.\n";

constexpr char kSpecsHelp[] =
    "-f FILE reads a whole specification: .json, .yaml or .textproto; - is standard input (JSON "
    "or\n"
    "YAML). Options of the command line override it, --set overrides both. Fields are those of\n"
    "TrainSpec, AttackSpec and ExplainSpec in proto/adamant/v1; `--dry-run` prints all of them "
    "with\n"
    "their defaults.\n\n"
    "  model: {model: models/mnist-robust}\n"
    "  data: {dataset: datasets/mnist, split: test, end: 1000}\n"
    "  attacks:\n"
    "    - attack: {name: pgd, params: {steps: 40}}\n"
    "      threat: {norm: linf, epsilon: 8/255}\n\n"
    "Files are uploaded first: where a blob belongs write a path (relative to the spec file), "
    "e.g.\n"
    "model.weights.blob: weights.safetensors; an image is a path as well. In .textproto write\n"
    "sha256: \"file:weights.safetensors\". `blobs/SHA256/SIZE` names a blob of the server.\n";

const std::map<std::string, std::string>& Topics() {
  static const auto* topics = new std::map<std::string, std::string>{
      {"exit-codes", std::string(ExitCodeHelp())},
      {"output", kOutputHelp},
      {"environment", kEnvironmentHelp},
      {"specs", kSpecsHelp},
  };
  return *topics;
}

const CLI::App* Child(const CLI::App& app, const std::string& name) {
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (sub->get_name() == name) return sub;
  }
  return nullptr;
}

const char* Bool(bool value) { return value ? "true" : "false"; }

std::string ArgumentJson(const CLI::Option& option) {
  const std::string name = option.get_positional() ? option.get_name(true)
                           : option.get_lnames().empty()
                               ? absl::StrCat("-", option.get_snames().front())
                               : absl::StrCat("--", option.get_lnames().front());
  const bool flag = option.get_type_size_max() == 0;
  const bool repeatable = !flag && option.get_items_expected_max() > 1;
  return absl::StrCat("{\"name\":", JsonString(name), ",\"kind\":\"",
                      option.get_positional() ? "positional"
                      : flag                  ? "flag"
                                              : "option",
                      "\",\"type\":", JsonString(flag ? "BOOL" : option.get_type_name()),
                      ",\"required\":", Bool(option.get_required()),
                      ",\"repeatable\":", Bool(repeatable),
                      ",\"doc\":", JsonString(option.get_description()), "}");
}

std::string ArgumentsJson(const CLI::App& app) {
  std::vector<std::string> arguments;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty() || option == app.get_help_ptr()) continue;
    arguments.push_back(ArgumentJson(*option));
  }
  return absl::StrCat("[", absl::StrJoin(arguments, ","), "]");
}

}  // namespace

const CLI::App& FindCommand(const CLI::App& root, const std::vector<std::string>& arguments) {
  const CLI::App* app = &root;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (absl::StartsWith(word, "-")) {
      const CLI::Option* option = app == &root ? root.get_option_no_throw(word) : nullptr;
      if (option != nullptr && option->get_type_size_max() > 0) ++i;  // its value is no command
      continue;
    }
    const CLI::App* next = Child(*app, word);
    if (next == nullptr) break;
    app = next;
  }
  return *app;
}

std::string SchemaJson(const CLI::App& app, const Commands& commands) {
  const auto found = absl::c_find_if(commands, [&](const Command& c) { return c.app == &app; });
  std::vector<std::string> below;
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (!sub->get_group().empty()) below.push_back(SchemaJson(*sub, commands));
  }
  const Effect effect = found == commands.end() ? Effect::kRead : found->effect;
  std::string json = absl::StrCat("{\"command\":", JsonString(CommandPath(app)),
                                  ",\"summary\":", JsonString(app.get_description()));
  if (found != commands.end()) {
    absl::StrAppend(&json, ",\"mutating\":", Bool(effect != Effect::kRead),
                    ",\"idempotent\":", Bool(effect != Effect::kSubmits),
                    ",\"destructive\":", Bool(effect == Effect::kDestroys));
  }
  absl::StrAppend(&json, ",\"arguments\":", ArgumentsJson(app));
  if (!below.empty()) absl::StrAppend(&json, ",\"commands\":[", absl::StrJoin(below, ","), "]");
  return json + "}";
}

// CLI11 puts the command's own name behind the path it is given.
std::string HelpText(const CLI::App& app) {
  const std::string text =
      app.get_parent() == nullptr ? app.help() : app.help(CommandPath(*app.get_parent()));
  std::string tight;  // one empty line is enough
  for (const char c : text) {
    if (c == '\n' && tight.size() >= 2 && tight.compare(tight.size() - 2, 2, "\n\n") == 0) continue;
    tight += c;
  }
  if (app.get_parent() != nullptr)
    tight += "\nOptions of every command, such as -o and --server: `adamant --help`\n";
  return tight;
}

absl::StatusOr<std::string> HelpOn(const CLI::App& root, const std::vector<std::string>& topics) {
  if (topics.size() == 1) {
    if (const auto found = Topics().find(topics[0]); found != Topics().end()) return found->second;
  }
  const CLI::App* app = &root;
  for (const std::string& topic : topics) {
    std::vector<std::string> known = SubcommandNames(*app);
    if (!absl::c_linear_search(known, topic)) {
      if (app == &root) {
        for (const auto& [name, text] : Topics()) known.push_back(name);
      }
      return UsageError(UnknownNameMessage("help topic", topic, known));
    }
    app = Child(*app, topic);
  }
  return HelpText(*app);
}

}  // namespace adamant
