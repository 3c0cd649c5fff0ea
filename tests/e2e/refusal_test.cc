// SPDX-License-Identifier: Apache-2.0
// Bad input through the real programs: a clear error that says what to do, and nothing lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/support/programs/program.h"
#include "tests/support/test_data.h"

namespace adamant::testing {
namespace {

using ::testing::HasSubstr;

struct BadCommand {
  std::string what;
  std::vector<std::string> arguments;
  int exit_code;
  std::string message;
};

TEST(Refusal, BadRequestsSayWhatIsWrongAndTheServerGoesOn) {
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  const std::vector<std::string> train = {"train",  "--model",     "mini_gap", "--dataset",
                                          "shapes", "--epochs",    "1",        "--epsilon",
                                          "0.1",    "--objective", "pgd_at"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), train.begin(), train.end());
    return more;
  };
  const std::vector<BadCommand> commands = {
      {"unknown plug-in", with({"--attack", "pdg"}), 6, "did you mean \"pgd\"?"},
      {"parameter out of range", with({"--attack", "pgd", "--param", "steps=0"}), 6,
       "outside [1, 100000]"},
      {"unknown parameter", with({"--attack", "pgd", "--param", "step=3"}), 6, "\"steps\""},
      {"unknown model",
       {"attack", "--model", "absent", "--dataset", "shapes", "--attack", "fgsm", "--epsilon",
        "0.1"},
       6,
       "unknown model \"absent\""},
      {"unknown command", {"atack"}, 2, "attack"},
      {"unknown option", {"attack", "--espilon", "0.1"}, 2, "--epsilon"},
      {"missing job", {"job", "get", "jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa"}, 6, "JOB_NOT_FOUND"},
      {"missing blob",
       {"blob", "get", "blobs/" + std::string(64, '0') + "/5", folder.path() + "/x"},
       6,
       "BLOB_NOT_FOUND"},
  };
  for (const BadCommand& command : commands) {
    const ProgramResult result = server.Cli(command.arguments);
    EXPECT_EQ(result.exit_code, command.exit_code) << command.what << "\n" << result.err;
    EXPECT_THAT(result.out + result.err, HasSubstr(command.message)) << command.what;
  }
  EXPECT_EQ(server.Cli({"server", "status"}).exit_code, 0);
  EXPECT_EQ(server.Terminate(), 0);
}

TEST(Refusal, AttacksSayWhatTheyCannotTake) {
  REQUIRE_TEST_DATA();
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  const std::string data = TestDataFolder();
  ASSERT_EQ(server
                .Cli({"dataset", "add", "mnist", "--reader", "mnist",
                      data + "/mnist/t10k-images-idx3-ubyte.gz",
                      data + "/mnist/t10k-labels-idx1-ubyte.gz"})
                .exit_code,
            0);
  ASSERT_EQ(server
                .Cli({"model", "add", "net", data + "/checkpoints/mnist_lenet5_adv.safetensors",
                      "--architecture", "mnist_cnn", "--param", "kind=advertorch"})
                .exit_code,
            0);
  const auto attack = [](std::vector<std::string> more) {
    const std::vector<std::string> first = {"attack", "--model", "net", "--samples", "4", "--wait"};
    more.insert(more.begin(), first.begin(), first.end());
    return more;
  };
  const std::vector<std::string> mnist = {"--dataset", "mnist", "--attack"};
  const auto on_mnist = [&](std::vector<std::string> more) {
    more.insert(more.begin(), mnist.begin(), mnist.end());
    return attack(more);
  };
  const std::vector<BadCommand> commands = {
      {"norm of the attack", on_mnist({"cw_l2", "--epsilon", "0.3"}), 6,
       "attack \"cw_l2\" does not support linf; it supports l2"},
      {"epsilon above 1", on_mnist({"pgd", "--epsilon", "1.5"}), 6, "outside [0, 1]"},
      {"half a pixel", on_mnist({"pgd", "--norm", "l0", "--epsilon", "2.5"}), 6,
       "L0 epsilon is a number of pixels"},
      {"no epsilon", on_mnist({"pgd"}), 6, "spec.attacks[0].threat"},
      {"empty selection", on_mnist({"pgd", "--epsilon", "0.3", "--begin", "20000"}), 6,
       "beyond the end"},
      {"no crafted set", on_mnist({"transfer", "--epsilon", "0.3"}), 6, "adversarial_set"},
      {"unknown precision", on_mnist({"pgd", "--epsilon", "0.3", "--precision", "fp8"}), 6,
       "must be \"fp32\" or \"bf16\""},
      {"data of another size",
       attack({"--dataset", "shapes", "--param", "variant=geo32", "--epsilon", "0.3"}), 1,
       "the model takes images of 1x28x28, found 3x32x32"},
      {"no prototypes", on_mnist({"adaptive_pc", "--epsilon", "0.3"}), 1,
       "the model carries no prototypes"},
  };
  for (const BadCommand& command : commands) {
    const ProgramResult result = server.Cli(command.arguments);
    EXPECT_EQ(result.exit_code, command.exit_code) << command.what << "\n" << result.err;
    EXPECT_THAT(result.out + result.err, HasSubstr(command.message)) << command.what;
  }
  EXPECT_EQ(server.Cli({"server", "status"}).exit_code, 0);
}

TEST(Refusal, ASecondServerOnTheSameFolderOrPortIsRefused) {
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  const ProgramResult same_folder =
      RunProgram("adamantd", {"--data-dir", server.data_dir(), "--listen", "127.0.0.1:0",
                              "--metrics-address", "127.0.0.1:0"});
  EXPECT_EQ(same_folder.exit_code, 3) << same_folder.err;
  const ProgramResult same_port =
      RunProgram("adamantd", {"--data-dir", folder.path() + "/other", "--listen", server.address(),
                              "--metrics-address", "127.0.0.1:0"});
  EXPECT_EQ(same_port.exit_code, 4) << same_port.err;
  const ProgramResult public_address =
      RunProgram("adamantd", {"--data-dir", folder.path() + "/other", "--listen", "0.0.0.0:0"});
  EXPECT_EQ(public_address.exit_code, 2) << public_address.err;
  EXPECT_THAT(public_address.err, HasSubstr("PUBLIC_WITHOUT_TLS"));
  EXPECT_EQ(server.Cli({"server", "status"}).exit_code, 0);
}

struct BadFile {
  const char* name;
  const char* message;
};

TEST(Refusal, MalformedAndHostileUploadsAreRejectedWithTheirReason) {
  REQUIRE_TEST_DATA();
  const BadFile files[] = {
      {"empty.pt", "the file is empty"},
      {"pickle_plain.pt", "pickle files are not accepted"},
      {"pickle_state_dict_zip.pt", "pickle / state dict, not TorchScript"},
      {"zip_not_torchscript.pt", "zip archive without TorchScript content"},
      {"torchscript_truncated.pt", "truncated"},
      {"safetensors_data_beyond_file.safetensors", "fc.weight"},
      {"safetensors_header_length_max.safetensors", "header length exceeds the file"},
      {"safetensors_header_longer_than_file.safetensors", "header length exceeds the file"},
      {"safetensors_overlapping_offsets.safetensors", "overlap"},
      {"safetensors_shape_overflow.safetensors", "fc.weight"},
      {"safetensors_wrong_dtype.safetensors", "F33"},
  };
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  int number = 0;
  for (const BadFile& file : files) {
    std::vector<std::string> add = {"model", "add", "bad-" + std::to_string(++number),
                                    TestDataFolder() + "/checkpoints/bad/" + file.name};
    const bool script = absl::EndsWith(file.name, ".pt");
    for (const char* option :
         script ? std::vector<const char*>{"--classes", "10", "--input", "1,28,28"}
                : std::vector<const char*>{"--architecture", "mnist_cnn"}) {
      add.emplace_back(option);
    }
    const ProgramResult result = server.Cli(add);
    EXPECT_EQ(result.exit_code, 6) << file.name << result.out << result.err;
    EXPECT_THAT(result.err, HasSubstr(file.message)) << file.name;
  }
  EXPECT_EQ(server.Cli({"server", "status"}).exit_code, 0);
}

}  // namespace
}  // namespace adamant::testing
