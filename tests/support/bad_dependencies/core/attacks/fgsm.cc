// SPDX-License-Identifier: Apache-2.0
// Breaks rule 4.
#include "core/attacks/pgd.h"

const Registration<Attack> kFgsm{};
