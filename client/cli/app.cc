// SPDX-License-Identifier: Apache-2.0
// The command line as a whole: global options, dispatch, errors.
#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/render_error.h"
#include "client/error.h"
#include "common/nearest.h"
#include "common/version.h"

namespace adamant {
namespace {

constexpr char kFooter[] =
    "Example:\n"
    "  adamant train --model mini_gap --dataset shapes --objective standard --epochs 2 --watch\n"
    "  adamant attack --model jobs/UID --dataset shapes --attack pgd --norm linf --epsilon 8/255 "
    "--wait\n\n"
    "The server is --server, else ADAMANT_SERVER, else 127.0.0.1:50061. `adamant COMMAND --help`\n"
    "explains a command, `adamant help exit-codes` what the shell gets.";

void AddGlobals(CLI::App& root, GlobalOptions& options) {
  root.add_option("--server", options.server, "address of adamantd: host:port or unix:path")
      ->group("Global");
  root.add_option("-o,--output", options.output, "table, wide, json, jsonl or name")
      ->group("Global");
  root.add_flag("-v,--verbose", options.verbose, "say what is done")->group("Global");
  root.add_flag("-q,--quiet", options.quiet, "no progress and no hints on stderr")->group("Global");
  root.add_flag("--debug", options.debug, "show all details of an error")->group("Global");
}

// The command that was reached, however far parsing came.
const CLI::App& Deepest(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : Deepest(*parsed.front());
}

std::string CommandPath(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? "adamant" : absl::StrCat(CommandPath(*parent), " ", app.get_name());
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames())
        names.push_back(absl::StrCat("--", name));
    }
  }
  return names;
}

std::vector<std::string> SubcommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

// Why the command line cannot be read, in our words.
absl::Status Explain(const CLI::App& root, const CLI::ParseError& error) {
  const CLI::App& reached = Deepest(root);
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
  const ExitCode code = ExitCodeOf(status);
  if (session.json()) {
    session.out() << Envelope(status, code, "");
  }
  if (code == kExitInterrupted) {
    session.Note("interrupted");
    return code;
  }
  session.err() << RenderError(action, status, session.server(), session.options().debug)
                << std::flush;
  return code;
}

int RunCommand(const Command& command, Session& session) {
  absl::Status status = session.Prepare();
  if (status.ok()) {
    const absl::StatusOr<int> code = command.run(session);
    if (code.ok()) return *code;
    status = code.status();
  }
  return ShowError(command.action, status, session);
}

// CLI11 puts the command's own name behind the path it is given.
std::string HelpText(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.help() : app.help(CommandPath(*app.get_parent()));
}

// `help` alone prints the commands, `help exit-codes` the codes, `help COMMAND...` its options.
absl::StatusOr<int> Help(CLI::App& root, const std::vector<std::string>& topics, Session& session) {
  if (topics == std::vector<std::string>{"exit-codes"}) {
    session.out() << ExitCodeHelp();
    return kExitOk;
  }
  CLI::App* app = &root;
  for (const std::string& topic : topics) {
    std::vector<std::string> known = SubcommandNames(*app);
    if (!absl::c_linear_search(known, topic)) {
      if (app == &root) known.emplace_back("exit-codes");
      return UsageError(UnknownNameMessage("help topic", topic, known));
    }
    app = app->get_subcommand(topic);
  }
  session.out() << HelpText(*app);
  return kExitOk;
}

void AddHelp(CLI::App& root, Commands& commands) {
  auto topics = std::make_shared<std::vector<std::string>>();
  CLI::App* help = root.add_subcommand("help", "Explain a command, or `exit-codes`");
  help->add_option("TOPIC", *topics, "a command or exit-codes");
  commands.push_back({help, "show the help",
                      [&root, topics](Session& session) { return Help(root, *topics, session); }});
}

}  // namespace

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
    if (option->get_lnames().empty() || index >= option->results().size()) continue;
    typed.push_back({option->get_lnames().front(), option->results()[index]});
  }
  return typed;
}

int RunCli(const std::vector<std::string>& arguments, Streams streams, Interrupt* interrupt) {
  GlobalOptions options;
  CLI::App root("Measures and improves the adversarial robustness of image classifiers.",
                "adamant");
  root.fallthrough();
  root.set_version_flag("--version", std::string("adamant ") + kVersion);
  AddGlobals(root, options);
  Commands commands;
  for (auto* add : {&AddTrain, &AddAttack, &AddExplain, &AddJob, &AddModel, &AddDataset, &AddBlob,
                    &AddPlugins, &AddServer, &AddHelp}) {
    (*add)(root, commands);
  }
  root.footer(kFooter);  // after the commands, which would inherit it
  try {
    root.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    streams.out << HelpText(Deepest(root));
    return kExitOk;
  } catch (const CLI::CallForVersion& version) {
    streams.out << version.what() << "\n";
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    Session session(options, streams, interrupt);
    return ShowError("read the command line", Explain(root, error), session);
  }
  Session session(options, streams, interrupt);
  const CLI::App& reached = Deepest(root);
  for (const Command& command : commands) {
    if (command.app == &reached) return RunCommand(command, session);
  }
  streams.err << HelpText(reached);  // a group without its verb
  return kExitUsage;
}

}  // namespace adamant
