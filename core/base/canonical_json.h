// SPDX-License-Identifier: Apache-2.0
// JSON with one form for equal values: keys sorted, shortest numbers, no spaces. For metadata that
// must be equal to the byte between runs.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "adamant/v1/plugin.pb.h"

namespace adamant {

// `text` as a JSON string, quotes included.
std::string JsonQuoted(absl::string_view text);

std::string CanonicalJson(const google::protobuf::Value& value);
std::string CanonicalJson(const google::protobuf::Struct& params);
// {"name":...,"params":{...}}
std::string CanonicalJson(const v1::PluginSpec& spec);

}  // namespace adamant
