// SPDX-License-Identifier: Apache-2.0
// TLS and tokens, against a server with a certificate that is its own authority.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

// A server on `localhost` with a certificate that nobody else signed.
class Tls : public Cli {
 protected:
  Tls() {
    MakeCertificate("server");
    MakeCertificate("stranger");
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back(
        {*ReadFile(Path("server.key")), *ReadFile(Path("server.pem"))});
    secure_.emplace(grpc::SslServerCredentials(options));
    secure_->jobs.job = server_.jobs.job;
    port_ = secure_->address.substr(secure_->address.rfind(':'));
  }

  void MakeCertificate(const std::string& name) const {
    const std::string command = absl::StrCat(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout ",
        Path(name + ".key"), " -out ", Path(name + ".pem"), " 2>", Path("log"));
    ASSERT_EQ(system(command.c_str()), 0) << *ReadFile(Path("log"));
  }
  // GetJob over TLS, trusting `authority`.
  int Get(const std::string& address, const std::string& authority) {
    setenv("ADAMANT_TLS_CA", Path(authority).c_str(), 1);
    const int code = RunPlain({"--server", address, "job", "get", kJob});
    unsetenv("ADAMANT_TLS_CA");
    return code;
  }

  std::optional<testing::FakeServer> secure_;
  std::string port_;
};

TEST_F(Tls, ReachesAServerWhoseAuthorityIsGivenAndSendsItTheToken) {
  const std::string token = Write("token", "adm_secret\n");
  EXPECT_EQ(Get("localhost" + port_, "server.pem"), 0) << err_.str();
  EXPECT_EQ(secure_->jobs.authorization, "");
  EXPECT_EQ(RunPlain({"config", "set", "lab", "server=localhost" + port_,
                      "tls_ca=" + Path("server.pem"), "token_file=" + token}),
            0)
      << err_.str();
  EXPECT_EQ(RunPlain({"-v", "job", "get", kJob}), 0) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("with a token"));
  EXPECT_EQ(secure_->jobs.authorization, "Bearer adm_secret");
}

TEST_F(Tls, TellsTheWaysItFailsApart) {
  EXPECT_EQ(Get("localhost" + port_, "stranger.pem"), 5);
  EXPECT_THAT(err_.str(), HasSubstr("not of the authority in tls_ca"));
  EXPECT_EQ(Get("127.0.0.1" + port_, "server.pem"), 5);
  EXPECT_THAT(err_.str(), HasSubstr("the name that its certificate holds"));
  EXPECT_EQ(Get(server_.address, "server.pem"), 5);
  EXPECT_THAT(err_.str(), HasSubstr("does not speak TLS"));
  EXPECT_EQ(RunPlain({"--server", "localhost" + port_, "job", "get", kJob}), 5);
  EXPECT_THAT(err_.str(), HasSubstr("ADAMANT_TLS_CA"));
}

TEST_F(Tls, NamesTheFileThatIsNoCertificate) {
  Write("text.pem", "no certificate");
  EXPECT_EQ(Get("localhost" + port_, "text.pem"), 2);
  EXPECT_THAT(err_.str(), HasSubstr("text.pem holds no PEM block \"CERTIFICATE-----\""));
  EXPECT_EQ(Get("localhost" + port_, "absent.pem"), 2);
  EXPECT_THAT(err_.str(), HasSubstr("absent.pem"));
  EXPECT_THAT(err_.str(), HasSubstr("adamant help environment"));
}

}  // namespace
}  // namespace adamant
