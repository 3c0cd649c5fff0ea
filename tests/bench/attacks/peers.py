# SPDX-License-Identifier: Apache-2.0
"""One attack by one Python library on one net: the other sides of `scripts/bench attacks`.

usage: peers.py FOLDER SIDE CASE BATCH COUNT OUT

FOLDER holds model.safetensors, images.f32 and labels.i64 of `attack_bench --export`. Prints one JSON line and writes the
adversarial images (float32) to OUT. One thread, no gradients for parameters where the library allows it.
"""
import json
import pathlib
import struct
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import cases


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + size + begin:8 + size + end], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


class LeNet5(nn.Module):
    """conv 3x3 1-32, pool, conv 3x3 32-64, pool, linear 3136-200-10."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.linear1 = nn.Linear(3136, 200)
        self.linear2 = nn.Linear(200, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample = None
        if inner != outer or stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inner = 64
        for stage, outer in enumerate((64, 128, 256, 512), start=1):
            blocks = [Block(inner, outer, 1 if stage == 1 else 2), Block(outer, outer, 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            inner = outer
        self.fc = nn.Linear(512, 10)
        self.mean = torch.tensor(self.MEAN).view(1, 3, 1, 1)
        self.std = torch.tensor(self.STD).view(1, 3, 1, 1)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def open_model(folder, name):
    net = ResNet18() if name == "resnet18" else LeNet5()
    weights = read_safetensors(folder / "model.safetensors")
    missing, unexpected = net.load_state_dict(weights, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        sys.exit(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    net.eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net


class Counter(nn.Module):
    """Counts rows of forward passes and of backward passes from the logits."""

    def __init__(self, net):
        super().__init__()
        self.net, self.forwards, self.backwards = net, 0, 0

    def forward(self, x):
        self.forwards += len(x)
        logits = self.net(x)
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient):
        self.backwards += len(gradient)


def bare_pgd(net, x, y, case):
    """What a user would write by hand: fixed steps, last iterate."""
    start = x + torch.empty_like(x).uniform_(-case.epsilon, case.epsilon) if case.random_start else x
    v = start.clamp(0, 1)
    for _ in range(case.steps):
        v = v.detach().requires_grad_(True)
        g = torch.autograd.grad(F.cross_entropy(net(v), y, reduction="sum"), v)[0]
        v = v.detach() + case.step_size * g.sign()
        v = torch.min(torch.max(v, x - case.epsilon), x + case.epsilon).clamp(0, 1)
    return v.detach()


def torchattacks_side(net, case):
    import torchattacks as ta
    eps, steps, size = case.epsilon, case.steps, case.step_size
    attack = {
        "fgsm": lambda: ta.FGSM(net, eps=eps),
        "pgd": lambda: ta.PGD(net, eps=eps, alpha=size, steps=steps, random_start=case.random_start),
        "deepfool": lambda: ta.DeepFool(net, steps=steps, overshoot=0.02),
        "cw_l2": lambda: ta.CW(net, c=1, kappa=0, steps=steps, lr=0.01),
        "apgd_ce": lambda: ta.APGD(net, norm="Linf", eps=eps, steps=steps, loss="ce"),
        "apgd_t": lambda: ta.APGDT(net, norm="Linf", eps=eps, steps=steps, n_classes=10),
        "fab_t": lambda: ta.FAB(net, norm="Linf", eps=eps, steps=steps, multi_targeted=True, n_classes=10),
        "square": lambda: ta.Square(net, norm="Linf", eps=eps, n_queries=steps),
        "autoattack": lambda: autoattack(ta, net, eps, steps),
    }[case.attack]()
    return lambda x, y: attack(x, y)


def autoattack(ta, net, eps, steps):
    """torchattacks' list with the steps of the original instead of its default of 10."""
    return ta.MultiAttack([
        ta.APGD(net, norm="Linf", eps=eps, steps=steps, loss="ce"),
        ta.APGDT(net, norm="Linf", eps=eps, steps=steps, n_classes=10),
        ta.FAB(net, norm="Linf", eps=eps, steps=steps, multi_targeted=True, n_classes=10),
        ta.Square(net, norm="Linf", eps=eps, n_queries=5000)])


def foolbox_side(net, case):
    import foolbox as fb
    model = fb.PyTorchModel(net, bounds=(0, 1), device="cpu")
    relative = case.step_size / case.epsilon if case.epsilon else None
    attack = {
        "fgsm": lambda: fb.attacks.LinfFastGradientAttack(random_start=False),
        "pgd": lambda: fb.attacks.LinfProjectedGradientDescentAttack(
            rel_stepsize=relative, steps=case.steps, random_start=case.random_start),
        "deepfool": lambda: fb.attacks.L2DeepFoolAttack(steps=case.steps, candidates=10),
        "cw_l2": lambda: fb.attacks.L2CarliniWagnerAttack(
            binary_search_steps=case.outer, steps=case.steps, stepsize=0.01, abort_early=True),
    }[case.attack]()
    epsilon = None if case.attack in ("deepfool", "cw_l2") else case.epsilon

    def run(x, y):
        found = attack(model, x, y, epsilons=epsilon)[1]
        # Its C&W returns a black image where it found nothing, which a net may well misclassify.
        failed = (found == 0).flatten(1).all(1)
        return torch.where(failed.view(-1, 1, 1, 1), x, found)

    return run


def art_side(net, case):
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier
    shape = (3, 32, 32) if case.model == "resnet18" else (1, 28, 28)
    classifier = PyTorchClassifier(net, loss=nn.CrossEntropyLoss(), input_shape=shape, nb_classes=10,
                                   clip_values=(0, 1), device_type="cpu")
    eps, batch = case.epsilon, case.batch
    attack = {
        "fgsm": lambda: evasion.FastGradientMethod(classifier, eps=eps, batch_size=batch),
        "pgd": lambda: evasion.ProjectedGradientDescent(
            classifier, eps=eps, eps_step=case.step_size, max_iter=case.steps, batch_size=batch,
            num_random_init=int(case.random_start), verbose=False),
        "deepfool": lambda: evasion.DeepFool(classifier, max_iter=case.steps, epsilon=0.02, nb_grads=10,
                                             batch_size=batch, verbose=False),
        "cw_l2": lambda: evasion.CarliniL2Method(classifier, binary_search_steps=case.outer, max_iter=case.steps,
                                                 learning_rate=0.01, batch_size=batch, verbose=False),
        "apgd_ce": lambda: evasion.AutoProjectedGradientDescent(
            classifier, norm=np.inf, eps=eps, eps_step=2 * eps, max_iter=case.steps, nb_random_init=1,
            batch_size=batch, loss_type="cross_entropy", verbose=False),
        "square": lambda: evasion.SquareAttack(classifier, eps=eps, max_iter=case.steps, nb_restarts=1,
                                               batch_size=batch, verbose=False),
    }[case.attack]()
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), F.one_hot(y, 10).numpy()))


SIDES = {"torchattacks": torchattacks_side, "foolbox": foolbox_side, "art": art_side,
         "bare": lambda net, case: lambda x, y: bare_pgd(net, x, y, case)}


def main():
    folder, side, name, batch, count, out = sys.argv[1:7]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    case = cases.CASES[name]
    case.batch = int(batch)
    folder, count = pathlib.Path(folder), int(count)
    net = Counter(open_model(folder, case.model)).eval()
    shape = (3, 32, 32) if case.model == "resnet18" else (1, 28, 28)
    images = torch.from_numpy(np.fromfile(folder / "images.f32", "<f4")).view(-1, *shape)[:count]
    labels = torch.from_numpy(np.fromfile(folder / "labels.i64", "<i8"))[:count]
    attack = SIDES[side](net, case)
    wall, cpu = time.perf_counter(), time.process_time()
    parts = [attack(images[i:i + case.batch], labels[i:i + case.batch]) for i in range(0, count, case.batch)]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    torch.cat([torch.as_tensor(part).detach().float() for part in parts]).numpy().astype("<f4").tofile(out)
    print(json.dumps({"cpu_seconds": cpu, "wall_seconds": wall, "forwards": net.forwards,
                      "backwards": net.backwards, "batch": case.batch}))


if __name__ == "__main__":
    main()
