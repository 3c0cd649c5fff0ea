// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/text_format.h>

#include "adamant/worker/v1/worker.pb.h"

namespace adamant::testing {

// A small catalogue with one of everything that checks ask for.
inline worker::v1::Catalog TestCatalog() {
  worker::v1::Catalog catalog;
  google::protobuf::TextFormat::ParseFromString(
      R"pb(
        families {
          name: "dataset"
          plugins {
            name: "shapes"
            traits: "no_files"
            params {
              name: "size"
              type: INT
              default_value { number_value: 32 }
              min: 8
              max: 512
            }
          }
          plugins { name: "mnist" }
        }
        families {
          name: "model"
          plugins {
            name: "mini_gap"
            params {
              name: "width"
              type: INT
              default_value { number_value: 16 }
              min: 1
              max: 512
            }
          }
        }
        families {
          name: "attack"
          plugins { name: "fgsm" norms: "linf" traits: "inner_ok" }
          plugins {
            name: "pgd"
            norms: "linf"
            norms: "l2"
            traits: "inner_ok"
            params {
              name: "steps"
              type: INT
              default_value { number_value: 40 }
              min: 1
              max: 100000
            }
          }
          plugins { name: "apgd_ce" norms: "linf" }
        }
        families {
          name: "objective"
          plugins { name: "standard" }
          plugins { name: "pgd_at" }
        }
        families {
          name: "explainer"
          plugins { name: "cam" }
          plugins { name: "grad_cam" }
        }
        families {
          name: "analysis"
          plugins { name: "epsilon_sweep" }
        }
        devices { kind: "cpu" count: 1 }
        libtorch_version: "2.13.0"
      )pb",
      &catalog);
  return catalog;
}

}  // namespace adamant::testing
