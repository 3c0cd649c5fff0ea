// SPDX-License-Identifier: Apache-2.0
// Transfer (ATLPA, AT+ALP, PCL Tables 2 and 6): no search, the images of a set that was crafted
// before, against this model (white_box), an undefended one of the same architecture (gray_box) or
// another architecture (black_box), are tried on the target. What it finds says nothing about
// robustness to an attacker who knows the target.
#include <utility>

#include "core/attacks/search.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

class Transfer final : public Attack {
 public:
  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (!settings.start.defined()) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, {});
    if (!search.BeginRestart(0)) return std::move(search).Result();
    // An image outside the ball is none of this threat model: the clean one is tried in its place.
    const at::Tensor& clean = search.set().origin();
    const at::Tensor crafted = settings.start.to(clean.device(), clean.scalar_type());
    const at::Tensor inside = RowNorm(threat.norm, crafted - clean) <= ClaimDistance(threat);
    search.ClaimAll(at::where(PerRow(inside), crafted, clean), 0);
    return std::move(search).Result();
  }
};

const Registration<Attack> kTransfer{
    {.name = "transfer",
     .summary = "replays a crafted set of adversarial images, without any search",
     .paper = "Papernot et al. 2016, arXiv 1605.07277",
     .params = {Choice("protocol", "black_box", {"white_box", "gray_box", "black_box"})
                    .Doc("where the set comes from: this model, an undefended one of the same "
                         "architecture, or another architecture")},
     .norms = {"linf", "l2", "l1", "l0"},
     .traits = {"replays_set"}},
    [](const Params&) -> std::unique_ptr<Attack> { return std::make_unique<Transfer>(); }};

}  // namespace
}  // namespace adamant
