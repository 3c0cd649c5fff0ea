// SPDX-License-Identifier: Apache-2.0
// `adamant completion`, and `adamant __complete` that its scripts call.
#include "absl/strings/str_cat.h"
#include "client/cli/complete.h"
#include "client/cli/exit_code.h"
#include "common/nearest.h"

namespace adamant {
namespace {

// "=" and ":" end a word for bash, so that `steps=7` arrives in pieces: they are put together
// again, and what was typed before the last of them is cut from the answers.
constexpr char kBash[] =
    R"sh(# bash completion of adamant; load it with: source <(adamant completion bash)
_adamant() {
  local line word i cut candidates
  local -a words=()
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if ((${#words[@]} > 0 && i > 1)) &&
      [[ $word == [=:]* || ${COMP_WORDS[i - 1]} == [=:] ]]; then
      words[${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
  done
  line=${words[${#words[@]} - 1]}
  cut=${line%"${COMP_WORDS[COMP_CWORD]#[=:]}"}
  candidates=$("${COMP_WORDS[0]}" __complete -- "${words[@]}" 2>/dev/null) || return 0
  COMPREPLY=()
  while IFS= read -r word; do
    [[ -n $word ]] && COMPREPLY+=("${word#"$cut"}")
  done <<<"$candidates"
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _adamant adamant
)sh";

constexpr char kZsh[] = R"sh(#compdef adamant
# zsh completion of adamant; load it with: source <(adamant completion zsh)
_adamant() {
  local -a candidates open closed
  local name
  candidates=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for name in $candidates; do
    if [[ $name == *= ]]; then open+=("$name"); elif [[ -n $name ]]; then closed+=("$name"); fi
  done
  (($#open)) && compadd -S '' -a open
  (($#closed)) && compadd -a closed
  (($#open + $#closed)) || _files
}
compdef _adamant adamant
)sh";

constexpr char kFish[] =
    R"sh(# fish completion of adamant; load it with: adamant completion fish | source
function __adamant_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l candidates (command $words[1] __complete -- $words[2..-1] 2>/dev/null)
  if test (count $candidates) -gt 0
    printf '%s\n' $candidates
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c adamant -f -a '(__adamant_complete)'
)sh";

absl::StatusOr<int> Print(const std::string& shell, Session& session) {
  const std::string script = CompletionScript(shell);
  if (script.empty()) {
    return UsageError(UnknownNameMessage("shell", shell, {"bash", "fish", "zsh"}));
  }
  return session.FinishJson(
      session.json() ? absl::StrCat("{\"script\":", JsonString(script), "}") : "", script, script);
}

}  // namespace

std::string CompletionScript(const std::string& shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return "";
}

void AddCompletion(CLI::App& root, Commands& commands) {
  auto shell = std::make_shared<std::string>();
  CLI::App* app = root.add_subcommand("completion", "Print the completion script of a shell");
  app->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  app->footer("Example:\n  source <(adamant completion bash)");
  commands.push_back({app, "print the script",
                      [shell](Session& session) { return Print(*shell, session); }, Effect::kRead,
                      true});

  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* complete = root.add_subcommand("__complete", "")->group("");
  complete->add_option("WORDS", *words);
  commands.push_back(
      {complete, "complete", [&root, words](Session& session) -> absl::StatusOr<int> {
         for (const std::string& name : Complete(root, *words, session)) {
           session.out() << name << "\n";
         }
         session.out() << std::flush;
         return kExitOk;
       }});
}

}  // namespace adamant
