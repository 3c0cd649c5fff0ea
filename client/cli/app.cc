// SPDX-License-Identifier: Apache-2.0
// The command line as a whole: global options, dispatch, errors.
#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/render_error.h"
#include "client/cli/schema.h"
#include "client/error.h"
#include "common/nearest.h"
#include "common/version.h"

namespace adamant {
namespace {

constexpr char kFooter[] =
    "Examples:\n"
    "  adamant train --model mini_gap --dataset shapes --objective standard --epochs 2 --watch\n"
    "  adamant attack --model jobs/UID --dataset shapes --attack pgd --norm linf --epsilon 8/255 "
    "--wait\n"
    "  adamant report UID --open\n\n"
    "`adamant COMMAND --help` explains a command, `adamant help TOPIC` more: exit-codes, output,\n"
    "environment, specs.";

void AddGlobals(CLI::App& root, GlobalOptions& options, bool& schema) {
  const auto global = [](CLI::Option* option) { option->group("Global"); };
  global(root.add_option("--server", options.server, "host:port or unix:path of adamantd"));
  global(root.add_option("--context", options.context, "a context of `adamant config`"));
  global(root.add_option("-o,--output", options.output, "table, wide, json, jsonl or name"));
  global(root.add_flag("-v,--verbose", options.verbose, "say what is done, and with which server"));
  global(root.add_flag("-q,--quiet", options.quiet, "no progress and no hints on stderr"));
  global(root.add_flag("-y,--yes", options.yes, "do not ask before something is destroyed"));
  global(root.add_flag("--no-input", options.no_input, "never ask; without --yes refuse"));
  global(root.add_flag("--debug", options.debug, "show all details of an error, and its trace id"));
  global(root.add_flag("--grpc-exit-codes", options.grpc_exit_codes,
                       "exit with 64 + the gRPC code when a call failed"));
  global(root.add_flag("--schema", schema, "describe the command as JSON instead of running it"));
}

// Why the command line cannot be read, in our words.
absl::Status Explain(const CLI::App& root, const CLI::ParseError& error) {
  const CLI::App& reached = DeepestParsed(root);
  const std::vector<std::string> extras = root.remaining(true);
  for (const std::string& extra : extras) {
    if (absl::StartsWith(extra, "-") && extra.size() > 1) {
      const std::string typed = extra.substr(0, extra.find('='));
      const std::string nearest = NearestName(typed, OptionNames(reached));
      return UsageError(
          absl::StrCat("unknown option ", typed, " of `", CommandPath(reached), "`",
                       nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
    }
  }
  const std::vector<std::string> commands = SubcommandNames(reached);
  if (!extras.empty() && !commands.empty()) {
    return UsageError(UnknownNameMessage("command", extras.front(), commands));
  }
  if (!extras.empty()) {
    return UsageError(absl::StrCat("\"", extras.front(), "\" is one argument too many for `",
                                   CommandPath(reached), "`"));
  }
  return UsageError(error.what());
}

int ShowError(const std::string& action, const absl::Status& status, Session& session) {
  const int code = session.options().grpc_exit_codes ? GrpcExitCodeOf(status) : ExitCodeOf(status);
  if (session.json()) {
    session.out() << Envelope(status, code, "", session.format() == OutputFormat::kJsonLines)
                  << std::flush;
  }
  if (code == kExitInterrupted) {
    session.Note("interrupted");
    return code;
  }
  std::string text =
      RenderError(action, status, session.server(), session.options().debug, session.trace_id());
  if (session.err_colour()) {
    text = absl::StrCat("\033[1;31merror:\033[0m", absl::StripPrefix(text, "error:"));
  }
  session.err() << text << std::flush;
  return code;
}

int RunCommand(const Command& command, Session& session) {
  absl::Status status = session.Prepare(command.local);
  if (status.ok()) {
    const absl::StatusOr<int> code = command.run(session);
    if (code.ok()) return *code;
    status = code.status();
  }
  return ShowError(command.action, status, session);
}

// A command line that cannot be read still gets its error in the form that was asked for.
int ShowParseError(const CLI::App& root, const CLI::ParseError& error, Session& session) {
  const absl::Status format = session.Prepare(true);
  return ShowError("read the command line", format.ok() ? Explain(root, error) : format, session);
}

void AddHelp(CLI::App& root, Commands& commands) {
  auto topics = std::make_shared<std::vector<std::string>>();
  CLI::App* help = root.add_subcommand("help", "Explain a command or a topic");
  help->add_option("TOPIC", *topics, "a command, or exit-codes, output, environment, specs");
  help->footer("Examples:\n  adamant help job logs\n  adamant help exit-codes");
  commands.push_back({help, "show the help",
                      [&root, topics](Session& session) -> absl::StatusOr<int> {
                        const auto text = HelpOn(root, *topics);
                        if (!text.ok()) return text.status();
                        return session.FinishJson(session.json() ? JsonString(*text) : "", *text,
                                                  "");
                      },
                      Effect::kRead, true});
}

void AddCommands(CLI::App& root, Commands& commands) {
  const auto group = [&](const char* name, auto... add) {
    const size_t before = root.get_subcommands({}).size();
    (add(root, commands), ...);
    const auto all = root.get_subcommands({});
    for (size_t i = before; i < all.size(); ++i) {
      if (!all[i]->get_group().empty()) all[i]->group(name);
    }
  };
  group("Submit", &AddTrain, &AddAttack, &AddExplain);
  group("Results", &AddJob, &AddReport);
  group("Data", &AddModel, &AddDataset, &AddBlob);
  group("Server and settings", &AddPlugins, &AddServer, &AddConfig, &AddCompletion, &AddHelp);
}

// Completion asks the server that the command line being typed names.
void AdoptTypedGlobals(const std::vector<std::string>& words, GlobalOptions& options) {
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "--server") options.server = words[i + 1];
    if (words[i] == "--context") options.context = words[i + 1];
  }
}

}  // namespace

const CLI::App& DeepestParsed(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : DeepestParsed(*parsed.front());
}

std::string CommandPath(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? "adamant" : absl::StrCat(CommandPath(*parent), " ", app.get_name());
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        names.push_back(absl::StrCat("--", name));
      }
    }
  }
  return names;
}

std::vector<std::string> SubcommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (!sub->get_group().empty()) names.push_back(sub->get_name());
  }
  return names;
}

CLI::Option* AddTyped(CLI::App& app, const std::string& flag, const std::string& help) {
  return app.add_option(absl::StrCat("--", flag), help)
      ->type_name("TEXT")
      ->type_size(1)
      ->expected(-1)  // CLI11 limits an option to one value a time only when it has no end
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

std::vector<TypedOption> CollectTyped(const CLI::App& app) {
  std::vector<TypedOption> typed;
  std::map<const CLI::Option*, size_t> seen;
  for (const CLI::Option* option : app.parse_order()) {
    const size_t index = seen[option]++;
    // AddTyped alone asks for this policy.
    const bool is_typed = option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
    if (!is_typed || index >= option->results().size()) continue;
    typed.push_back({option->get_lnames().front(), option->results()[index]});
  }
  return typed;
}

int RunCli(const std::vector<std::string>& arguments, Streams streams, Interrupt* interrupt) {
  GlobalOptions options;
  bool schema = false;
  CLI::App root("Measures and improves the adversarial robustness of image classifiers.",
                "adamant");
  root.fallthrough();
  root.set_help_flag("-h,--help", "explain the command");
  root.set_version_flag("--version", std::string("adamant ") + kVersion, "print the version");
  AddGlobals(root, options, schema);
  Commands commands;
  AddCommands(root, commands);
  root.footer(kFooter);  // after the commands, which would inherit it
  if (absl::c_linear_search(arguments, "--schema")) {
    streams.out << SchemaJson(FindCommand(root, arguments), commands) << "\n" << std::flush;
    return kExitOk;
  }
  try {
    root.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    streams.out << HelpText(DeepestParsed(root));
    return kExitOk;
  } catch (const CLI::CallForVersion& version) {
    streams.out << version.what() << "\n";
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    Session session(options, streams, interrupt);
    return ShowParseError(root, error, session);
  }
  const CLI::App& reached = DeepestParsed(root);
  if (reached.get_name() == "__complete") AdoptTypedGlobals(arguments, options);
  Session session(options, streams, interrupt);
  for (const Command& command : commands) {
    if (command.app == &reached) return RunCommand(command, session);
  }
  streams.err << HelpText(reached);  // a group without its verb
  return kExitUsage;
}

}  // namespace adamant
