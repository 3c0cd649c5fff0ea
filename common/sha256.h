// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace adamant {

// Running SHA-256. Not thread-safe.
class Sha256 {
 public:
  using Digest = std::array<uint8_t, 32>;

  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(absl::string_view bytes);
  // Ends the computation; the object must not be used afterwards.
  Digest Finish();
  std::string FinishHex();  // 64 lower-case hex digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Sha256::Digest Sha256Of(absl::string_view bytes);
std::string Sha256Hex(absl::string_view bytes);

}  // namespace adamant
