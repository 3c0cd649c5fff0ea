// SPDX-License-Identifier: Apache-2.0
// Facts that take further passes of the network, or the data again.
#pragma once

#include "core/run/validity/facts.h"
#include "core/run/validity/probe.h"

namespace adamant::validity {

// Reads every sample once: pixel range, and the most any classifier can reach.
void MeasureData(const ValidityInput& input, ValidityFacts& facts);

// Pairs of images with different labels whose balls of radius `epsilon` meet, matched greedily in
// index order, each image in one pair at most. images [M,...] CPU, labels int64 [M].
int64_t CountMeetingPairs(const at::Tensor& images, const at::Tensor& labels, v1::Norm norm,
                          double epsilon);

// Of the probe set: noise, dependence on the batch, changes of the model, zero gradients.
void MeasureModel(Probe& probe, ValidityFacts& facts);

// One-step against iterative, an unbounded attack, and loss curves of survivors.
void MeasureSearch(Probe& probe, ValidityFacts& facts);

// What depth full adds: doubled steps and restarts, other epsilons, random search, loss noise, and
// what follows.
void MeasureFull(Probe& probe, ValidityFacts& facts);

// The attacks, all of one threat model, on toy_linear and toy_masked: the models whose known
// adversarial points they missed. `gradient_free`: one of them needs no gradients.
Measured<std::vector<std::string>> SelfTest(Probe& probe,
                                            const std::vector<AttackInstance>& attacks,
                                            bool gradient_free);

// An attack against heads that a single point of each sample's ball is known to fool.
Measured<Binarized> Binarize(Probe& probe, const AttackInstance& attack);

}  // namespace adamant::validity
