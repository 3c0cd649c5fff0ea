// SPDX-License-Identifier: Apache-2.0
// What completion offers, and the scripts of the shells.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "client/cli/complete.h"
#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;

class Completion : public Cli {
 protected:
  Completion() {
    v1::PluginFamily& attacks = *server_.system.capabilities.add_families();
    attacks.set_name("attack");
    v1::PluginInfo& pgd = *attacks.add_plugins();
    pgd.set_name("pgd");
    pgd.add_params()->set_name("steps");
    pgd.add_params()->set_name("step_size");
    attacks.add_plugins()->set_name("apgd_ce");
    server_.jobs.listed.push_back(server_.jobs.job);
  }

  std::vector<std::string> Candidates(std::vector<std::string> words) {
    words.insert(words.begin(), {"__complete", "--"});
    EXPECT_EQ(Run(words), 0) << err_.str();
    return Lines(out_.str());
  }
};

TEST_F(Completion, OffersCommandsOptionsAndNamesOfTheServer) {
  EXPECT_THAT(Candidates({"jo"}), ElementsAre("job"));
  EXPECT_THAT(Candidates({"job", "re"}), ElementsAre("resume", "retry"));
  EXPECT_THAT(Candidates({"job", "logs", "--fo"}), ElementsAre("--follow"));
  EXPECT_THAT(Candidates({"job", "get", "abc"}), ElementsAre(kJob));
  EXPECT_THAT(Candidates({"job", "get", "x"}), ElementsAre());
  EXPECT_THAT(Candidates({"attack", "--attack", "p"}), ElementsAre("pgd"));
  EXPECT_THAT(Candidates({"attack", "--model", ""}), ElementsAre("net"));
  EXPECT_THAT(Candidates({"attack", "--dataset", ""}), ElementsAre("cifar10", "mnist", "shapes"));
  EXPECT_THAT(Candidates({"attack", "--attack", "pgd", "--param", "st"}),
              ElementsAre("step_size=", "steps="));
  EXPECT_THAT(Candidates({"model", "get", "n"}), ElementsAre("net"));
  EXPECT_THAT(Candidates({"plugins", "show", "apgd"}), ElementsAre("apgd_ce"));
  EXPECT_THAT(Candidates({"-o", "js"}), ElementsAre("json", "jsonl"));
  EXPECT_THAT(Candidates({"-o", "json", "ver"}), ElementsAre("version"));
  EXPECT_THAT(Candidates({"attack", "--attack=p"}), ElementsAre("--attack=pgd"));
  EXPECT_THAT(Candidates({"attack", "--attack=pgd", "--param", "step_"}),
              ElementsAre("step_size="));
}

TEST_F(Completion, AsksForTheCapabilitiesOnceAMinute) {
  Candidates({"attack", "--attack", "p"});
  Candidates({"attack", "--attack", "a"});
  EXPECT_EQ(server_.system.capability_calls, 1);
}

TEST_F(Completion, IsSilentWithoutAServer) {
  EXPECT_EQ(RunPlain({"--server", "127.0.0.1:1", "__complete", "--", "job", "get", ""}), 0);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(), "");
}

// Runs the bash script with a stand-in for the program that says what it was asked.
TEST_F(Completion, BashPutsWordsTogetherThatItCutAtEqualSigns) {
  const std::string stub = Write("adamant",
                                 "#!/bin/sh\nshift 2\nprintf '%s\\n' \"$@\" > \"$0.asked\"\n"
                                 "echo steps=7\n");
  std::filesystem::permissions(stub, std::filesystem::perms::owner_all);
  const std::string script =
      Write("test.sh", absl::StrCat(CompletionScript("bash"), "COMP_WORDS=(", stub,
                                    " attack --param steps = 7)\nCOMP_CWORD=5\n_adamant\n",
                                    "printf '%s\\n' \"${COMPREPLY[@]}\"\n"));
  FILE* pipe = popen(absl::StrCat("bash ", script, " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  char buffer[256] = "";
  const size_t size = fread(buffer, 1, sizeof(buffer) - 1, pipe);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(std::string(buffer, size), "7\n");
  EXPECT_EQ(*ReadFile(stub + ".asked"), "attack\n--param\nsteps=7\n");
}

// The output of a shell that runs `text` with the stand-in "adamant" first in its path, which
// answers every question with "net" and "other", and one that names "none" with nothing.
class ShellCompletion : public Completion {
 protected:
  std::string RunIn(const std::string& shell, const std::string& text) {
    const std::string stub = Write(
        "adamant", "#!/bin/sh\ncase \"$*\" in *none*) ;; *) printf 'net\\nother\\n' ;; esac\n");
    std::filesystem::permissions(stub, std::filesystem::perms::owner_all);
    Write("script", CompletionScript(shell));
    Write("none.png", "");
    const std::string file = Write("test", text);
    FILE* pipe =
        popen(absl::StrCat("cd ", Path(""), " && PATH=", Path(""), ":$PATH HOME=", Path(""), " ",
                           shell, shell == "zsh" ? " -f " : " ", file, " 2>&1")
                  .c_str(),
              "r");
    char buffer[4096] = "";
    const size_t size = fread(buffer, 1, sizeof(buffer) - 1, pipe);
    pclose(pipe);
    return std::string(buffer, size);
  }
  static bool Has(const std::string& shell) {
    return system(absl::StrCat("command -v ", shell, " >/dev/null").c_str()) == 0;
  }
};

TEST_F(ShellCompletion, FishOffersFilesOnlyWhereThereIsNothingElse) {
  if (!Has("fish")) GTEST_SKIP() << "fish is not installed";
  EXPECT_EQ(RunIn("fish", "source script\ncomplete -C 'adamant model get '\n"), "net\nother\n");
  EXPECT_EQ(RunIn("fish", "source script\ncomplete -C 'adamant explain none'\n"), "none.png\n");
}

TEST_F(ShellCompletion, ZshTakesTheScript) {
  if (!Has("zsh")) GTEST_SKIP() << "zsh is not installed";
  EXPECT_EQ(RunIn("zsh",
                  "autoload -Uz compinit; compinit -D -u\nsource ./script\nprint $_comps[adamant]\n"
                  "words=(adamant model get ''); CURRENT=4\n"
                  "compadd() { print -l ${(P)argv[-1]} }\n_adamant\n"),
            "_adamant\nnet\nother\n");
}

}  // namespace
}  // namespace adamant
