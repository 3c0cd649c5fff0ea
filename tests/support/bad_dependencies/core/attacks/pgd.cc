// SPDX-License-Identifier: Apache-2.0
const Registration<Attack> kPgd{};
