// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace adamant::testing {

// The body of the answer to GET `path` from host:port over HTTP/1.0; "" when there is none.
std::string HttpGet(const std::string& address, const std::string& path);

}  // namespace adamant::testing
