// SPDX-License-Identifier: Apache-2.0
// Breaks rule 5.
#include "core/base/torch.h"
