# SPDX-License-Identifier: Apache-2.0
"""The rows of `scripts/bench attacks`: the same work for every side."""
import dataclasses


@dataclasses.dataclass
class Case:
    what: str
    model: str
    attack: str              # plug-in of Adamant
    epsilon: float
    steps: int               # steps, or queries of square
    sides: tuple
    norm: str = "LINF"
    step_size: float = 0.0
    random_start: bool = False
    outer: int = 1           # binary search steps of cw_l2
    images: int = 1000
    params: tuple = ()       # of the plug-in, name=value
    batch: int = 0
    data: str = "mnist"


ADV, CLN, RES = "mnist_lenet5_adv", "mnist_lenet5_cln", "resnet18"
ALL = ("torchattacks", "foolbox", "art")
PGD40 = ("steps=40", "step_size=0.01", "random_start=false")

CASES = {
    "fgsm": Case("FGSM, robust LeNet", ADV, "fgsm", 0.3, 1, ALL + ("bare",), step_size=0.3),
    "pgd_adv": Case("PGD-40, robust LeNet", ADV, "pgd", 0.3, 40, ALL + ("bare",), step_size=0.01, params=PGD40),
    "pgd_cln": Case("PGD-40, clean LeNet", CLN, "pgd", 0.3, 40, ALL + ("bare",), step_size=0.01, params=PGD40),
    "deepfool": Case("DeepFool L2, 50 steps", CLN, "deepfool", 28.0, 50, ALL, norm="L2", images=200,
                     params=("steps=50",)),
    "cw_l2": Case("C&W L2, 9 x 100 iterations", CLN, "cw_l2", 28.0, 100, ("foolbox", "art"), norm="L2", outer=9,
                  images=200, params=("max_iterations=100", "binary_search_steps=9")),
    "apgd_ce": Case("APGD-CE, 100 steps", ADV, "apgd_ce", 0.3, 100, ("torchattacks", "art"), params=("steps=100",)),
    "apgd_t": Case("APGD-T, 9 x 100 steps", ADV, "apgd_t", 0.3, 100, ("torchattacks",), images=200,
                   params=("steps=100",)),
    "fab_t": Case("FAB-T, 9 x 100 steps", ADV, "fab_t", 0.3, 100, ("torchattacks",), images=200,
                  params=("steps=100",)),
    "square": Case("Square, 5000 queries", ADV, "square", 0.3, 5000, ("torchattacks", "art"), images=200,
                   params=("queries=5000",)),
    "autoattack": Case("AutoAttack standard, 100 steps", ADV, "autoattack", 0.3, 100, ("torchattacks",), images=200),
    # RES stands for the weights of --resnet.
    "pgd_resnet": Case("PGD-10, ResNet-18 32x32", RES, "pgd", 8 / 255, 10, ("torchattacks", "bare"), step_size=2 / 255,
                       images=128, params=("steps=10", f"step_size={2 / 255}", "random_start=false"), data="geo32"),
}
