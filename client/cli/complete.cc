// SPDX-License-Identifier: Apache-2.0
#include "client/cli/complete.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/cli/names.h"
#include "common/files.h"
#include "common/sha256.h"

namespace adamant {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

constexpr absl::Duration kCacheLife = absl::Seconds(60);
constexpr absl::Duration kPatience = absl::Milliseconds(800);

// The families whose plug-ins an option names.
const std::map<std::string, std::string>& PluginOptions() {
  static const auto* options = new std::map<std::string, std::string>{
      {"--attack", "attack"},       {"--eval-attack", "attack"},
      {"--objective", "objective"}, {"--explainer", "explainer"},
      {"--analysis", "analysis"},   {"--augmentation", "augmentation"},
      {"--reader", "dataset"},      {"--architecture", "model"},
      {"--model", "model"},         {"--dataset", "dataset"},
      {"--val-dataset", "dataset"},
  };
  return *options;
}

const std::map<std::string, Names>& Choices() {
  static const auto* choices = new std::map<std::string, Names>{
      {"--output", {"table", "wide", "json", "jsonl", "name"}},
      {"-o", {"table", "wide", "json", "jsonl", "name"}},
      {"--norm", {"linf", "l2", "l1", "l0"}},
      {"--kind", {"train", "attack", "explain"}},
      {"--state",
       {"queued", "starting", "running", "pausing", "paused", "cancelling", "recovering",
        "succeeded", "failed", "cancelled"}},
      {"--level", {"debug", "info", "warning", "error"}},
      {"--optimizer", {"sgd", "adam", "rmsprop"}},
      {"--schedule", {"constant", "step", "cosine", "cyclic", "exponential"}},
      {"--target", {"predicted", "true", "second", "least_likely", "given"}},
      {"--resize", {"stretch", "shorter_side_crop", "letterbox"}},
      {"--colour-map", {"viridis", "jet", "grey"}},
      {"--family", {"dataset", "model", "attack", "objective", "explainer", "analysis"}},
  };
  return *choices;
}

// Asks the server what exists. Everything that fails is empty.
class Source {
 public:
  explicit Source(Session& session) : session_(session) {}

  const v1::Capabilities& capabilities() {
    if (loaded_) return capabilities_;
    loaded_ = true;
    const std::string path = CachePath();
    std::error_code error;
    const auto age = fs::file_time_type::clock::now() - fs::last_write_time(path, error);
    if (!error && absl::FromChrono(age) < kCacheLife) {
      const auto bytes = ReadFile(path);
      if (bytes.ok() && capabilities_.ParseFromString(*bytes)) return capabilities_;
    }
    Client* client = this->client();
    if (client == nullptr) return capabilities_;
    if (auto fresh = client->GetCapabilities(); fresh.ok()) {
      capabilities_ = *std::move(fresh);
      Remember(path);
    }
    return capabilities_;
  }

  Names Plugins(const std::string& family) {
    Names names;
    for (const v1::PluginFamily& entry : capabilities().families()) {
      if (!family.empty() && entry.name() != family) continue;
      for (const v1::PluginInfo& plugin : entry.plugins()) names.push_back(plugin.name());
    }
    return names;
  }

  // `steps=`, `step_size=`, ... of a plug-in.
  Names Params(const std::string& family, const std::string& name) {
    Names names;
    for (const v1::PluginFamily& entry : capabilities().families()) {
      if (entry.name() != family) continue;
      for (const v1::PluginInfo& plugin : entry.plugins()) {
        if (plugin.name() != name) continue;
        for (const v1::ParamInfo& param : plugin.params()) {
          names.push_back(absl::StrCat(param.name(), "="));
        }
      }
    }
    return names;
  }

  Names Jobs() {
    Names names;
    v1::ListJobsRequest request;
    request.set_page_size(200);
    Client* client = this->client();
    if (client == nullptr) return names;
    const auto list = client->ListJobs(request);
    if (!list.ok()) return names;
    for (const v1::Job& job : list->jobs()) {
      names.emplace_back(absl::StripPrefix(job.name(), "jobs/"));
    }
    return names;
  }

  Names Models() {
    Names names;
    Client* client = this->client();
    if (client == nullptr) return names;
    const auto list = client->ListModels({});
    if (!list.ok()) return names;
    for (const v1::Model& model : list->models()) {
      names.emplace_back(absl::StripPrefix(model.name(), "models/"));
    }
    return names;
  }

  Names Datasets() {
    Names names;
    Client* client = this->client();
    if (client == nullptr) return names;
    const auto list = client->ListDatasets({});
    if (!list.ok()) return names;
    for (const v1::Dataset& dataset : list->datasets()) {
      names.emplace_back(absl::StripPrefix(dataset.name(), "datasets/"));
    }
    return names;
  }

 private:
  Client* client() {
    if (!tried_) {
      tried_ = true;
      client_ = session_.HastyClient(kPatience);
    }
    return client_.get();
  }

  std::string CachePath() const {
    const char* folder = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    const std::string base = folder != nullptr && folder[0] != '\0'
                                 ? std::string(folder)
                                 : absl::StrCat(home == nullptr ? "/tmp" : home, "/.cache");
    return absl::StrCat(base, "/adamant/capabilities-", Sha256Hex(session_.server()).substr(0, 16));
  }

  void Remember(const std::string& path) {
    std::error_code error;
    fs::create_directories(fs::path(path).parent_path(), error);
    const std::string temporary = absl::StrCat(path, ".", NewUuid());
    std::ofstream(temporary, std::ios::binary) << capabilities_.SerializeAsString();
    fs::permissions(temporary, fs::perms::owner_read | fs::perms::owner_write, error);
    fs::rename(temporary, path, error);
  }

  Session& session_;
  bool loaded_ = false, tried_ = false;
  std::unique_ptr<Client> client_;
  v1::Capabilities capabilities_;
};

// Where the cursor is: the command, and the option whose value is typed.
struct Place {
  const CLI::App* app;
  std::string option;                 // "" for an argument
  std::string plugin_option, plugin;  // the last plug-in named before
  size_t arguments = 0;               // complete ones before the cursor
};

const CLI::Option* FindOption(const CLI::App* app, const std::string& word) {
  for (; app != nullptr; app = app->get_parent()) {
    if (const CLI::Option* option = app->get_option_no_throw(word); option != nullptr) {
      return option;
    }
  }
  return nullptr;
}

Place FindPlace(const CLI::App& root, const Names& words) {
  Place place{.app = &root};
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (absl::StartsWith(word, "-") && word.size() > 1) {
      const CLI::Option* option = FindOption(place.app, word);
      if (option == nullptr || option->get_type_size_max() == 0) continue;
      if (i + 2 == words.size()) {
        place.option = word;
        return place;
      }
      if (PluginOptions().contains(word)) {
        place.plugin_option = word;
        place.plugin = words[i + 1];
      }
      ++i;
      continue;
    }
    const CLI::App* next = nullptr;
    for (const CLI::App* sub : place.app->get_subcommands({})) {
      if (sub->get_name() == word && place.arguments == 0) next = sub;
    }
    if (next != nullptr) {
      place.app = next;
    } else {
      ++place.arguments;
    }
  }
  return place;
}

Names OptionValues(const Place& place, Source& source) {
  const std::string& option = place.option;
  if (option == "--param") {
    const auto family = PluginOptions().find(place.plugin_option);
    return family == PluginOptions().end() ? Names() : source.Params(family->second, place.plugin);
  }
  if (option == "--context") {
    Names names;
    if (const auto file = SettingsFile::Load(); file.ok()) {
      for (const auto& [name, settings] : file->contexts) names.push_back(name);
    }
    return names;
  }
  if (const auto found = Choices().find(option); found != Choices().end()) return found->second;
  const auto family = PluginOptions().find(option);
  if (family == PluginOptions().end()) return {};
  const bool trains = place.app->get_name() == "train";
  Names names;
  if (option == "--model") {
    names = source.Models();
    if (!trains) return names;
  } else if (option == "--dataset" || option == "--val-dataset") {
    names = source.Datasets();
  }
  absl::c_copy(source.Plugins(family->second), std::back_inserter(names));
  return names;
}

// What an argument is follows from its name in the help.
Names ArgumentValues(const CLI::App& root, const Place& place, Source& source) {
  std::vector<std::string> arguments;
  for (const CLI::Option* option : place.app->get_options()) {
    if (option->get_positional()) arguments.push_back(option->get_name(true));
  }
  if (arguments.empty()) return {};
  const std::string& name = arguments[std::min(place.arguments, arguments.size() - 1)];
  const std::string noun =
      place.app->get_parent() == nullptr ? "" : place.app->get_parent()->get_name();
  if (name == "JOB") return source.Jobs();
  if (name == "ID" && noun == "model") return source.Models();
  if (name == "ID" && noun == "dataset") return source.Datasets();
  if (name == "NAME" && noun == "plugins") return source.Plugins("");
  if (name == "SHELL") return {"bash", "zsh", "fish"};
  if (name == "TOPIC") {
    Names names = SubcommandNames(root);
    absl::c_copy(Names{"exit-codes", "output", "environment", "specs"}, std::back_inserter(names));
    return names;
  }
  if (name == "BLOB") {
    Names names;
    for (const std::string& model : source.Models())
      names.push_back(absl::StrCat("models/", model));
    return names;
  }
  if (name == "CONTEXT") {
    return OptionValues({.app = place.app, .option = "--context"}, source);
  }
  if (name == "SETTING") {
    Names names;
    for (const std::string& setting : SettingNames()) names.push_back(absl::StrCat(setting, "="));
    return names;
  }
  return {};
}

// `--model=net` as the two words `--model net`.
Names SplitValues(const Names& typed) {
  Names words;
  for (const std::string& word : typed) {
    const size_t equals = absl::StartsWith(word, "--") ? word.find('=') : std::string::npos;
    words.push_back(word.substr(0, equals));
    if (equals != std::string::npos) words.push_back(word.substr(equals + 1));
  }
  return words;
}

}  // namespace

std::vector<std::string> Complete(const CLI::App& root, const std::vector<std::string>& typed,
                                  Session& session) {
  if (typed.empty()) return {};
  const Names words = SplitValues(typed);
  const size_t cut = typed.back().size() - words.back().size();  // `--model=` of `--model=net`
  Source source(session);
  const Place place = FindPlace(root, words);
  Names names;
  if (!place.option.empty()) {
    names = OptionValues(place, source);
  } else if (absl::StartsWith(words.back(), "-")) {
    names = OptionNames(*place.app);
  } else {
    names = SubcommandNames(*place.app);
    if (names.empty()) names = ArgumentValues(root, place, source);
  }
  std::set<std::string> fitting;
  for (const std::string& name : names) {
    if (absl::StartsWith(name, words.back())) fitting.insert(typed.back().substr(0, cut) + name);
  }
  return {fitting.begin(), fitting.end()};
}

}  // namespace adamant
