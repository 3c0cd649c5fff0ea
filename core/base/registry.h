// SPDX-License-Identifier: Apache-2.0
// The plug-in mechanism: a plug-in is one file that defines one Registration object; nothing else
// names it.
//
//   const Registration<Attack> kFgsm{
//       {.name = "fgsm", .summary = "one gradient-sign step", .paper = "Goodfellow et al. 2015,
//       arXiv 1412.6572",
//        .params = {Bool("random_start", false).Doc("start at a random point of the ball")},
//        .norms = {"linf"}, .traits = {"inner_ok"}},
//       [](const Params& p) -> std::unique_ptr<Attack> { return std::make_unique<Fgsm>(p); }};
//
// A family T declares `static constexpr char kFamily[]` and `using Factory = <function type>`,
// whose first parameter is `const Params&`.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <map>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/plugin_check.h"
#include "core/base/params.h"

namespace adamant {

// A named set of parameter values, chosen by the parameter `preset`.
struct Preset {
  std::string name;
  std::vector<std::pair<std::string, Param::Default>> values;
};

struct Declaration {
  std::string name;
  std::string summary;
  std::string paper = "";
  std::vector<Param> params = {};
  std::vector<Preset> presets = {};
  std::vector<std::string> norms = {};
  std::vector<std::string> traits = {};
  // Parameters of the conformance suite where the defaults are too slow, e.g. {{"steps", 5}}.
  std::vector<std::pair<std::string, double>> test_params = {};

  bool HasTrait(absl::string_view trait) const;
  bool SupportsNorm(absl::string_view norm) const;
  v1::PluginInfo ToProto() const;
};

// All plug-ins of family T. Filled before main, constant afterwards: thread-safe.
template <class T>
class Registry {
 public:
  struct Entry {
    Declaration declaration;
    typename T::Factory* make;
    std::string where;  // file:line of the registration
  };

  static const std::map<std::string, Entry>& All() { return Entries(); }

  // The declarations, as the server and its clients see them.
  static v1::PluginFamily Family() {
    v1::PluginFamily family;
    family.set_name(T::kFamily);
    for (const auto& [name, entry] : Entries()) *family.add_plugins() = entry.declaration.ToProto();
    return family;
  }

  // Aborts on a name that is taken: two plug-ins of one name are a build error.
  static void Add(Declaration declaration, typename T::Factory* make,
                  const std::source_location& at) {
    std::string where = std::string(at.file_name()) + ":" + std::to_string(at.line());
    const std::string name = declaration.name;
    const auto [entry, added] =
        Entries().try_emplace(name, Entry{std::move(declaration), make, where});
    if (!added) {
      std::fprintf(stderr, "%s \"%s\" is registered twice: %s and %s\n", T::kFamily, name.c_str(),
                   entry->second.where.c_str(), where.c_str());
      std::abort();
    }
  }

 private:
  static std::map<std::string, Entry>& Entries() {
    static auto* entries = new std::map<std::string, Entry>();  // never destroyed
    return *entries;
  }
};

template <class T>
class Registration {
 public:
  Registration(Declaration declaration, typename T::Factory* make,
               const std::source_location& at = std::source_location::current()) {
    Registry<T>::Add(std::move(declaration), make, at);
  }
};

// StatusOr<R> for a factory that returns R or StatusOr<R>.
template <class R>
struct PluginResult {
  using type = absl::StatusOr<R>;
};
template <class R>
struct PluginResult<absl::StatusOr<R>> {
  using type = absl::StatusOr<R>;
};

// Makes the plug-in that `spec` chooses: INVALID_ARGUMENT for an unknown name, a bad parameter, or
// when the factory throws std::invalid_argument (parameters that contradict each other); else what
// the factory returns for the completed parameters and `args`.
template <class T, class... Args>
auto MakePlugin(const v1::PluginSpec& spec, Args&&... args) ->
    typename PluginResult<decltype(std::declval<typename T::Factory*>()(
        std::declval<Params>(), std::forward<Args>(args)...))>::type {
  absl::StatusOr<v1::PluginSpec> normal = NormalizePluginSpec(spec, Registry<T>::Family());
  if (!normal.ok()) return normal.status();
  const auto& entry = Registry<T>::All().at(normal->name());
  try {
    return entry.make(Params(*std::move(normal)), std::forward<Args>(args)...);
  } catch (const std::invalid_argument& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(T::kFamily, " ", spec.name(), ": ", error.what()));
  }
}

}  // namespace adamant
