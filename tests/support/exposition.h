// SPDX-License-Identifier: Apache-2.0
// Reads the text that a metrics endpoint answers.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files.h"

namespace adamant::testing {

class Exposition {
 public:
  explicit Exposition(absl::string_view text) {
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      if (line[0] == '#' || line[0] == '\r') continue;
      const size_t space = line.rfind(' ');
      double value = 0;
      EXPECT_TRUE(space != line.npos && absl::SimpleAtod(line.substr(space + 1), &value)) << line;
      values_[std::string(line.substr(0, space))] = value;
    }
  }

  int size() const { return static_cast<int>(values_.size()); }
  const std::map<std::string, double>& values() const { return values_; }

  // Of a series as it is written: `name{label="value"}`, labels by name. Fails the test when it is
  // not there.
  double operator[](const std::string& series) const {
    const auto found = values_.find(series);
    if (found != values_.end()) return found->second;
    ADD_FAILURE() << "there is no " << series << "; of that name are" << Similar(series);
    return std::numeric_limits<double>::quiet_NaN();
  }

  // How many series metrics have, those of a histogram together.
  int CountFamily(const std::string& name) const {
    int count = 0;
    for (const auto& [series, value] : values_) count += FamilyOf(series, name);
    return count;
  }

  // Names as a query writes them, with _bucket, _sum and _count.
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& [series, value] : values_) names.insert(NameOf(series));
    return names;
  }

  static std::string NameOf(const std::string& series) {
    return series.substr(0, series.find('{'));
  }

 private:
  static bool FamilyOf(const std::string& series, const std::string& name) {
    const std::string own = NameOf(series);
    return own == name || own == name + "_bucket" || own == name + "_sum" || own == name + "_count";
  }

  std::string Similar(const std::string& series) const {
    std::string similar;
    for (const auto& [other, value] : values_) {
      if (NameOf(other) == NameOf(series)) similar += "\n  " + other;
    }
    return similar;
  }

  std::map<std::string, double> values_;
};

// The answer to GET /metrics of host:port, without its header.
inline std::string Scrape(const std::string& address) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(address, ':');
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(parts.second, &port));
  const Descriptor fd(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, parts.first.c_str(), &peer.sin_addr);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  EXPECT_TRUE(WriteAll(fd.get(), "GET /metrics HTTP/1.0\r\n\r\n").ok());
  std::string answer;
  char buffer[65536];
  ssize_t got;
  while ((got = read(fd.get(), buffer, sizeof(buffer))) > 0)
    answer.append(buffer, static_cast<size_t>(got));
  const size_t body = answer.find("\r\n\r\n");
  EXPECT_NE(body, std::string::npos) << answer;
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

}  // namespace adamant::testing
