"""Draws a roofline of a result of `benchmarks/run.py native/kernels`: give its file and the picture's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"product": "#1b6ca8", "grouped": "#c8553d", "depthwise": "#3a7d44", "stem": "#7b4fa3"}
_TORCH = ("torch", "torch, channels last")
NAMES = {
    "product": "1x1 (matrix product)",
    "grouped": "3x3 in groups",
    "depthwise": "depthwise 3x3, 5x5",
    "stem": "stem",
}


def draw(result: dict[str, Any], to: Path) -> None:
    """Rates of every kernel against multiply-adds for each byte that must move."""
    rows, roofs = result["rows"], result["roofs"]
    best = result["instruction_sets"][0]
    figure, axes = plt.subplots(figsize=(8, 5.2), dpi=130)
    intensity = np.geomspace(0.5, 200, 200)
    peak = roofs[f"{best} GFLOP/s"]
    for name, style in (("cache", "-"), ("memory", "--")):
        bandwidth = roofs[f"{name} GB/s"]
        axes.plot(intensity, np.minimum(peak, intensity * bandwidth), style, color="#444", lw=1.3)
        at = 0.62
        axes.annotate(
            f"{'second cache' if name == 'cache' else 'memory'} {bandwidth:.0f} GB/s",
            (at, at * bandwidth * 1.12),
            rotation=37,
            fontsize=8,
            color="#444",
        )
    axes.annotate(f"{best}: {peak:.0f} GFLOP/s", (75, peak * 1.05), fontsize=8, color="#444")
    for kind, colour in COLOURS.items():
        own = [row for row in rows if row["kind"] == kind]
        axes.scatter(
            [row["intensity"] for row in own],
            [row[f"{best} GFLOP/s"] for row in own],
            color=colour,
            s=34,
            label=NAMES[kind],
            zorder=3,
        )
        rival = [
            row.get("sgemm GFLOP/s") or max(row["torch GFLOP/s"], row["torch, channels last GFLOP/s"])
            for row in own
        ]
        axes.scatter(
            [row["intensity"] for row in own], rival, facecolors="none", edgecolors=colour, s=34, zorder=2
        )
    axes.scatter([], [], facecolors="none", edgecolors="#444", s=34, label="the same in torch (1x1: sgemm)")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(0.5, 200),
        ylim=(1.5, 1.8 * peak),
        xlabel="floating-point operations for each byte that must be read or written",
        ylabel="GFLOP/s",
        title="Kernels of the native engine, one thread, each alone",
    )
    axes.grid(True, which="major", color="#ddd", lw=0.6)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(to)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
