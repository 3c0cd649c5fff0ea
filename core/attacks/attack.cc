// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/attack.h"

namespace adamant {

std::string NormName(Norm norm) {
  switch (norm) {
    case Norm::kLinf:
      return "linf";
    case Norm::kL2:
      return "l2";
    case Norm::kL1:
      return "l1";
    case Norm::kL0:
      return "l0";
  }
  return "";
}

}  // namespace adamant
