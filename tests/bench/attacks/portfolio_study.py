#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the parts of `portfolio` are worth on one net, beside pgd-40 and AutoAttack.

Prints a row for each attack: robust images, which of AutoAttack's finds it missed and what it found beyond them, mean passes
(forward rows) per image, seconds. One thread.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
PORTFOLIO = {
    "portfolio": (),
    "portfolio, no leak": ("leak=0",),
    "portfolio, no local search": ("chains=0",),
    "portfolio, no gates": ("gates=[1]",),
    "portfolio, no Square": ("square=false",),
}
RIVALS = {"pgd-40": ("pgd", ("steps=40",)), "apgd_ce": ("apgd_ce", ()), "autoattack": ("autoattack", ())}


def run(options, attack, params):
    command = [options.build / "tests/bench/attack_bench", "--model", options.model, "--data", options.data, "--attack", attack,
               "--epsilon", options.epsilon, "--images", options.images, "--seed", options.seed]
    for param in params:
        command += ["--param", param]
    environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    environment.setdefault("ADAMANT_TEST_DATA", str(ROOT.parent / "shared/data"))
    done = subprocess.run(["taskset", "-c", str(options.core), *map(str, command)], env=environment, text=True,
                          capture_output=True)
    if done.returncode != 0:
        sys.exit(f"portfolio_study: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="reference checkpoint, or a .safetensors file")
    parser.add_argument("data", help="mnist, or a variant of shapes")
    parser.add_argument("epsilon", type=float)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--passes", type=int, default=1000, help="of the portfolio")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    options = parser.parse_args()
    print("| net | attack | robust | missed | new | passes per image | CPU s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    lines = {name: run(options, attack, params) for name, (attack, params) in RIVALS.items()}
    for name, params in PORTFOLIO.items():
        lines[name] = run(options, "portfolio", (f"passes={options.passes}",) + params)
    strongest = set(lines["autoattack"]["broken_ids"])
    net = pathlib.Path(options.model).stem
    for name, line in lines.items():
        broken = set(line["broken_ids"])
        print(f"| {net} | {name} | {line['robust']} | {len(strongest - broken)} | {len(broken - strongest)} | "
              f"{line['forwards'] / options.images:.0f} | {line['cpu_seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
