"""Draws the budgets of many nets in small panels, a group of nets each, all others in grey behind them.

python reproductions/budgets_figure.py budgets.csv --out curves.png --panel "Width=iresnext,slimmable" ...

The left column is for budgets that are known before the run, the right one for runs that are cut off. Lines
are means over the seeds.
"""

from __future__ import annotations

import argparse
import io
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from budgets import PRICES, curves

from anytimenet.core.files.writing import write_bytes
from anytimenet.evaluation import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TITLES = ("budget known before the run", "run cut off without warning")


def figure(csv: Path, panels: dict[str, list[str]], *, largest: float) -> bytes:
    """The figure as PNG; budgets go up to `largest` M multiply-adds."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    found = [curves(csv, price) for price in PRICES]
    for name, runs in panels.items():
        missing = [run for run in runs if run not in found[0]]
        if missing:
            raise SystemExit(f"panel {name!r}: {csv} holds no run {missing[0]!r}, but {', '.join(found[0])}")
        for run in runs:
            _check_largest(run, max(by_run[run][0].costs[0] for by_run in found), largest)
    with pyplot.rc_context({"font.size": 8, "axes.linewidth": 0.6}):
        made, grid = pyplot.subplots(
            len(panels), 2, figsize=(7.2, 2.1 * len(panels)), sharex=True, sharey=True, squeeze=False
        )
        for row, (name, runs) in zip(grid, panels.items(), strict=True):
            for axes, by_run in zip(row, found, strict=True):
                _panel(axes, by_run, runs, largest)
            row[0].set_ylabel(f"{name}\nerror %")
            row[1].legend(loc="upper right", fontsize=7, frameon=False)
        for axes, title in zip(grid[0], TITLES, strict=True):
            axes.set_title(title, fontsize=8.5)
        for axes in grid[-1]:
            axes.set_xlabel("M multiply-adds")
        made.tight_layout()
        file = io.BytesIO()
        made.savefig(file, format="png", dpi=150, metadata={"Software": ""})
        pyplot.close(made)
    return file.getvalue()


def _check_largest(run: str, first: float, largest: float) -> None:
    if not (first <= 1e6 * largest and math.isfinite(largest)):
        raise SystemExit(
            f"--largest {largest:g}: a number from {first / 1e6:g} on is needed, which pays for {run}"
        )


def _panel(axes: Axes, by_run: dict[str, list[Curve]], chosen: list[str], largest: float) -> None:
    for run, seeds in by_run.items():
        if run not in chosen and seeds[0].costs[0] <= 1e6 * largest:
            axes.plot(*_steps(seeds, largest), drawstyle="steps-post", color="#d4d4d4", linewidth=0.8)
    for number, run in enumerate(chosen):
        x, y = _steps(by_run[run], largest)
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(x, y, drawstyle="steps-post", color=colour, linewidth=1.3, label=run.replace("_", " "))
        axes.plot(x[:-1], y[:-1], "o", color=colour, markersize=2.5)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, largest)


def _steps(seeds: list[Curve], largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Budgets and mean errors where anything changes, and the last one up to the edge."""
    costs = [cost for cost in seeds[0].costs if cost <= 1e6 * largest]
    errors = [100 - 100 * statistics.mean(curve.accuracy_at(cost) for curve in seeds) for cost in costs]
    return np.array([*costs, 1e6 * largest]) / 1e6, np.array([*errors, *errors[-1:]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--panel", action="append", required=True, metavar="NAME=RUN,RUN")
    parser.add_argument("--largest", type=float, default=2.0, help="M multiply-adds at the right edge")
    arguments = parser.parse_args()
    panels = {}
    for panel in arguments.panel:
        name, _, runs = panel.partition("=")
        panels[name] = runs.split(",")
    write_bytes(arguments.out, figure(arguments.csv, panels, largest=arguments.largest))


if __name__ == "__main__":
    main()
