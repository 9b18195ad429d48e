"""Draws how much each branch of a block weighs, a line a net (figure 3b of the sliced-networks paper).

python reproductions/branch_norms.py runs/iresnext runs/resnext --block 5 --out norms.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from anytimenet import load
from anytimenet.core.errors import require
from anytimenet.core.files.writing import write_bytes
from anytimenet.evaluation.plots.axes import COLOURS, MARKERS
from anytimenet.evaluation.plots.plots import figure_bytes, paper_style
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


def plot_branch_norms(
    norms: Mapping[str, np.ndarray],
    path: Path | str,
    *,
    title: str = "",
    width_in: float = 3.4,
    height_in: float = 2.6,
    dpi: int = 300,
) -> Path:
    """Draws the l1 norm of each branch, a line a net, with a band of one sd where there are several runs.

    Args:
        norms: for each label an array (branches,), or (runs, branches) for several seeds.
        path: a .png, .pdf or .svg file; its folder is made.
        title: above the axes.
        width_in: width in inches.
        height_in: height in inches.
        dpi: dots per inch of a PNG.

    Returns:
        The path.

    Raises:
        ValueError: for no nets, arrays of another shape, or another ending.
        MissingExtraError: without matplotlib.
    """
    rows = {label: np.atleast_2d(np.asarray(values, dtype=np.float64)) for label, values in norms.items()}
    if not rows or any(values.ndim != 2 or values.size == 0 for values in rows.values()):
        raise ValueError("branch norms are an array (branches,) or (runs, branches) for each net")
    figure_class = require("matplotlib.figure", "train").Figure
    path = Path(path)
    with paper_style():
        figure = figure_class((width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        for number, (label, values) in enumerate(rows.items()):
            branches, mean = np.arange(1, values.shape[1] + 1), values.mean(axis=0)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axes.plot(branches, mean, color=colour, marker=marker, markersize=3.6, linewidth=1.3, label=label)
            if len(values) > 1:
                sd = values.std(axis=0, ddof=1)
                axes.fill_between(branches, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel("branch")
        axes.set_ylabel("l1 norm")
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        if title:
            axes.set_title(title)
        if len(rows) > 1 or next(iter(rows)):
            figure.legend(loc="outside upper center", ncols=2, frameon=False)
        write_bytes(path, figure_bytes(figure, path.suffix, dpi))
    return path


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
