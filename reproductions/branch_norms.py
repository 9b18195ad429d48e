"""Draws how much each branch of a block weighs, a line a net (figure 3b of the sliced-networks paper).

python reproductions/branch_norms.py runs/iresnext runs/resnext --block 5 --out norms.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from anytimenet import load
from anytimenet.evaluation import plot_branch_norms
from anytimenet.nets import AnytimeNet
from anytimenet.nets.width.branch_blocks import BranchBlock
from anytimenet.nets.width.iresnext import IResNeXt


def branch_l1_norms(net: AnytimeNet, block: int) -> np.ndarray:
    """The l1 norm of every branch of one block of an I-ResNeXt or a plain ResNeXt.

    A branch of width B at that scale owns B columns of the third convolution; its norm is the sum of their
    absolute weights. In an I-ResNeXt it falls from branch to branch, since every stage trains the first
    ones; in a plain ResNeXt it is flat.

    Source: "Anytime Neural Prediction via Slicing Networks Vertically", section 4.1 and figure 3b, which
    shows block 5 of the 29-layer net.

    Args:
        net: an `IResNeXt`; plain ResNeXts are among them.
        block: number of the block, from 1, counted through all scales.

    Returns:
        (branches,), float64.

    Raises:
        ValueError: for a net without branches of that kind, or a block that it does not have.
    """
    if not isinstance(net, IResNeXt):
        raise ValueError(f"branch norms are those of I-ResNeXt and ResNeXt, not of {type(net).__name__}")
    if not 1 <= block <= len(net.blocks):
        raise ValueError(f"block {block} does not exist: 1 to {len(net.blocks)} are there")
    chosen = net.blocks[block - 1]
    assert isinstance(chosen, BranchBlock)
    weight = chosen.conv3.weight.detach().double().abs().cpu().numpy()[:, :, 0, 0]
    return weight.reshape(len(weight), -1, chosen.branch_width).sum(axis=(0, 2))


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
