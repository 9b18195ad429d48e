"""Draws how much each branch of a block weighs, a line a net (figure 3b of the sliced-networks paper).

python reproductions/branch_norms.py runs/iresnext runs/resnext --block 5 --out norms.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from anytimenet import load
from anytimenet.evaluation import plot_branch_norms
from anytimenet.nets.branch_norms import branch_l1_norms


def norms_of(run: Path, block: int) -> np.ndarray:
    """(seeds, branches) of a run, of runs with several seeds, or of a bundle."""
    folders = sorted(run.glob("seed-*/bundle")) or [run]
    return np.stack([branch_l1_norms(load(folder).net, block) for folder in folders])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--labels", nargs="+", help="one name a run; the folders' names by default")
    parser.add_argument("--block", type=int, default=5, help="number of the block, from 1")
    parser.add_argument("--out", required=True, type=Path, help="a .png, .pdf or .svg file")
    arguments = parser.parse_args()
    labels = arguments.labels or [run.name for run in arguments.runs]
    if len(labels) != len(arguments.runs):
        parser.error(f"{len(labels)} labels for {len(arguments.runs)} runs: one each is needed")
    try:
        norms = {
            name: norms_of(run, arguments.block) for name, run in zip(labels, arguments.runs, strict=True)
        }
    except ValueError as error:
        raise SystemExit(str(error)) from error
    for label, values in norms.items():
        print(f"{label}: {' '.join(f'{value:.2f}' for value in values.mean(axis=0))}")
    plot_branch_norms(norms, arguments.out, title=f"block {arguments.block}")
    print(f"The figure is {arguments.out}.")


if __name__ == "__main__":
    main()
