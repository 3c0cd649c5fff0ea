// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include <arpa/inet.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr char kDefaultListen[] = "127.0.0.1:50061";
constexpr char kDefaultMetrics[] = "127.0.0.1:9461";

// Keeps the first complaint of the text-format parser.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty())
      text_ = absl::StrCat("line ", line + 1, ", column ", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

absl::StatusOr<v1::ServerConfig> ReadConfig(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the configuration: ", text.status().message()));
  }
  v1::ServerConfig config;
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(*text, &config))
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.text()));
  return config;
}

std::string WorkerBesideThisProgram() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return "adamant-worker";
  const std::filesystem::path beside = self.parent_path() / "adamant-worker";
  if (std::filesystem::exists(beside)) return beside.string();
  const std::filesystem::path sibling =
      self.parent_path().parent_path() / "worker" / "adamant-worker";  // a build folder
  return std::filesystem::exists(sibling) ? sibling.string() : beside.string();
}

void FillDefaults(v1::ServerConfig& config) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (config.listen().empty()) config.add_listen(kDefaultListen);
  if (config.worker().empty()) config.set_worker(WorkerBesideThisProgram());
  if (config.cpu_slots() == 0) config.set_cpu_slots(1);
  if (config.threads_per_slot() == 0)
    config.set_threads_per_slot(std::max(1, cores / config.cpu_slots()));
  if (!config.has_warm_spares()) config.set_warm_spares(1);
  if (!config.has_drain_delay_seconds()) config.set_drain_delay_seconds(5);
  if (!config.has_drain_grace_seconds()) config.set_drain_grace_seconds(15);
  if (!config.has_max_calls_per_second()) config.set_max_calls_per_second(500);
  if (!config.has_max_submits_per_second()) config.set_max_submits_per_second(50);
  if (!config.has_backup_every_hours()) config.set_backup_every_hours(24);
  if (config.metrics_address().empty()) config.set_metrics_address(kDefaultMetrics);
  if (config.torchscript().empty()) config.set_torchscript("auto");
  if (config.log_level().empty()) config.set_log_level("info");
  if (config.log_format().empty()) config.set_log_format("auto");
}

absl::Status CheckConfig(const v1::ServerConfig& config) {
  for (const std::string& address : config.listen()) RETURN_IF_ERROR(CheckListenAddress(address));
  if (config.data_dir().empty())
    return absl::InvalidArgumentError("--data-dir is required: the folder of jobs and blobs");
  if (config.cpu_slots() < 1 || config.cpu_slots() > 64)
    return absl::InvalidArgumentError("--cpu-slots must be in [1, 64]");
  if (config.threads_per_slot() < 1 || config.threads_per_slot() > 1024)
    return absl::InvalidArgumentError("--threads-per-slot must be in [1, 1024]");
  if (config.warm_spares() < 0 || config.warm_spares() > 16)
    return absl::InvalidArgumentError("--warm-spares must be in [0, 16]");
  if (!(config.drain_delay_seconds() >= 0 && config.drain_delay_seconds() <= 3600) ||
      !(config.drain_grace_seconds() >= 0 && config.drain_grace_seconds() <= 3600)) {
    return absl::InvalidArgumentError("--drain-delay and --drain-grace must be in [0, 3600] s");
  }
  if (!(config.max_calls_per_second() >= 0) || !(config.max_submits_per_second() >= 0)) {
    return absl::InvalidArgumentError(
        "--max-calls-per-second and --max-submits-per-second must be >= 0; 0 = no limit");
  }
  if (!(config.backup_every_hours() >= 0 && config.backup_every_hours() <= 8760))
    return absl::InvalidArgumentError("--backup-every must be in [0, 8760] hours, 0 = never");
  if (config.torchscript() != "auto" && config.torchscript() != "off")
    return absl::InvalidArgumentError("--torchscript must be auto or off");
  return absl::OkStatus();
}

bool IsPort(absl::string_view text) {
  int port = -1;
  return !text.empty() && text.size() <= 5 && absl::SimpleAtoi(text, &port) && port >= 0 &&
         port <= 65535;
}

bool IsLoopback(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

// What the flags ask for, before files and defaults.
struct Flags {
  v1::ServerConfig config;
  std::vector<std::string> listen;
  std::string config_path;
  int warm_spares = -1;
  double drain_delay = -1;
  double drain_grace = -1;
  bool check = false;
  bool print_config = false;
  bool version = false;

  void Declare(CLI::App& app);
  template <typename Set>
  static void Text(CLI::App& app, const char* name, Set set, const char* help) {
    app.add_option_function<std::string>(name, set, help);
  }
};

void Flags::Declare(CLI::App& app) {
  app.add_option("--listen", listen, "host:port or unix:path, repeatable [127.0.0.1:50061]");
  Text(
      app, "--data-dir", [this](const std::string& v) { config.set_data_dir(v); },
      "folder of jobs and blobs; one server per folder");
  Text(
      app, "--worker", [this](const std::string& v) { config.set_worker(v); },
      "path of adamant-worker [beside adamantd]");
  app.add_option_function<int>(
         "--cpu-slots", [this](int v) { config.set_cpu_slots(v); },
         "jobs that run side by side [1]")
      ->check(CLI::Range(1, 64));
  app.add_option_function<int>(
         "--threads-per-slot", [this](int v) { config.set_threads_per_slot(v); },
         "cores of one slot [all cores]")
      ->check(CLI::Range(1, 1024));
  app.add_option("--warm-spares", warm_spares, "idle workers kept ready [1]")
      ->check(CLI::Range(0, 16));
  app.add_option("--drain-delay", drain_delay, "seconds between refusing jobs and stopping [5]");
  app.add_option("--drain-grace", drain_grace, "seconds workers get to checkpoint [15]");
  app.add_option_function<double>(
      "--backup-every", [this](double v) { config.set_backup_every_hours(v); },
      "hours between backups of the store into DATA_DIR/backups, 0 = never [24]");
  Text(
      app, "--metrics-address", [this](const std::string& v) { config.set_metrics_address(v); },
      "host:port of the Prometheus endpoint [127.0.0.1:9461]");
  app.add_option_function<double>(
      "--max-calls-per-second", [this](double v) { config.set_max_calls_per_second(v); },
      "calls that one peer may start, 0 = no limit [500]");
  app.add_option_function<double>(
      "--max-submits-per-second", [this](double v) { config.set_max_submits_per_second(v); },
      "jobs that one tenant may submit, 0 = no limit [50]");
  app.add_flag_callback(
      "--reflection", [this] { config.set_reflection(true); }, "serve gRPC reflection");
  Text(
      app, "--torchscript", [this](const std::string& v) { config.set_torchscript(v); },
      "auto or off: accept TorchScript uploads [auto]");
  Text(
      app, "--log-level", [this](const std::string& v) { config.set_log_level(v); },
      "debug, info, warning, error [info]");
  Text(
      app, "--log-format", [this](const std::string& v) { config.set_log_format(v); },
      "auto, text, json [auto: text on a terminal]");
  app.add_option("--config", config_path, "text-format adamant.v1.ServerConfig; flags override it");
  app.add_flag("--check", check, "check configuration, data folder and worker, then exit");
  app.add_flag("--print-config", print_config, "print the merged configuration, then exit");
  app.add_flag("--version", version, "print versions, then exit");
}

}  // namespace

absl::Status CheckListenAddress(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) {
    if (address.size() > 5) return absl::OkStatus();
    return absl::InvalidArgumentError("--listen unix: needs a path, as in unix:/run/adamant.sock");
  }
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || !IsPort(address.substr(colon + 1))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--listen \"", address, "\" is not an address; write 127.0.0.1:50061 or unix:/path"));
  }
  absl::string_view host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]"))
    host = host.substr(1, host.size() - 2);
  if (IsLoopback(std::string(host))) return absl::OkStatus();
  return WithReason(
      absl::InvalidArgumentError(absl::StrCat(
          "PUBLIC_WITHOUT_TLS: refusing to listen on ", address,
          ": whoever reaches it would be administrator. Listen on 127.0.0.1, [::1] or unix:PATH "
          "and let a proxy with TLS forward to it")),
      "PUBLIC_WITHOUT_TLS", {{"address", std::string(address)}});
}

absl::StatusOr<Options> ParseOptions(int argc, const char* const* argv) {
  CLI::App app("adamantd: the Adamant server", "adamantd");
  Flags flags;
  flags.Declare(app);
  Options options;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    options.action = Options::Action::kHelp;
    options.help = app.help();
    return options;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrCat(error.what(), "; see adamantd --help"));
  }
  if (flags.version) {
    options.action = Options::Action::kVersion;
    return options;
  }
  if (!flags.config_path.empty()) {
    ASSIGN_OR_RETURN(options.config, ReadConfig(flags.config_path));
  }
  if (!flags.listen.empty()) options.config.clear_listen();
  for (const std::string& address : flags.listen) flags.config.add_listen(address);
  if (flags.warm_spares >= 0) flags.config.set_warm_spares(flags.warm_spares);
  if (flags.drain_delay >= 0) flags.config.set_drain_delay_seconds(flags.drain_delay);
  if (flags.drain_grace >= 0) flags.config.set_drain_grace_seconds(flags.drain_grace);
  options.config.MergeFrom(flags.config);
  FillDefaults(options.config);
  RETURN_IF_ERROR(CheckConfig(options.config));
  if (flags.check) options.action = Options::Action::kCheck;
  if (flags.print_config) options.action = Options::Action::kPrintConfig;
  return options;
}

}  // namespace adamant
