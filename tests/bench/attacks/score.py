# SPDX-License-Identifier: Apache-2.0
"""Robust images of a result, by one rule for every side: usage: score.py FOLDER CASE COUNT IMAGES"""
import pathlib
import sys

import numpy as np
import torch

import cases
import peers


def distances(change, norm):
    flat = change.double().flatten(1)
    return flat.abs().amax(1) if norm == "LINF" else flat.norm(dim=1)


def main():
    folder, name, count, path = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    case = cases.CASES[name]
    net = peers.open_model(folder, case.model)
    shape = (3, 32, 32) if case.model == "resnet18" else (1, 28, 28)
    read = lambda file: torch.from_numpy(np.fromfile(file, "<f4")).view(-1, *shape)[:count]
    clean, found = read(folder / "images.f32"), read(path)
    labels = torch.from_numpy(np.fromfile(folder / "labels.i64", "<i8"))[:count]
    inside = (distances(found - clean, case.norm) <= case.epsilon * (1 + 1e-5) + 1e-6) & (
        (found >= 0) & (found <= 1)).flatten(1).all(1)
    with torch.no_grad():
        judge = lambda x: torch.cat([net(part).argmax(1) for part in x.split(100)])
        broken = (judge(found) != labels) & inside
        print(int(((judge(clean) == labels) & ~broken).sum()))


if __name__ == "__main__":
    main()
