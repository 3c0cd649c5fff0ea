// SPDX-License-Identifier: Apache-2.0
#include "tests/support/programs/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"

namespace adamant::testing {

std::string HttpGet(const std::string& address, const std::string& path) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port)) return "";
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address.substr(0, colon).c_str(), &target.sin_addr) != 1) return "";
  const Descriptor connection(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0)
    return "";
  if (!WriteAll(connection.get(), absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n")).ok()) return "";
  std::string answer;
  char buffer[65536];
  for (ssize_t size = 0; (size = read(connection.get(), buffer, sizeof(buffer))) > 0;)
    answer.append(buffer, static_cast<size_t>(size));
  const size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

}  // namespace adamant::testing
