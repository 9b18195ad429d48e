"""The axes of a curve figure: lines, bars and bands, limits and ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from anytimenet.evaluation.plots.series import Series
from anytimenet.evaluation.plots.ticks import even_ticks, log_ticks, score_limits, tick_labels
from anytimenet.evaluation.text.units import axis_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito's palette without yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"


def set_budget_axis(axes: Axes, series: Sequence[Series], *, log: bool) -> float:
    """Label, limits and ticks of the x axis; returns what costs are divided by on it."""
    smallest = min(one.costs[0] for one in series)
    largest = max(one.costs[-1] for one in series)
    divisor, label = axis_scale(series[0].unit, smallest, largest)
    smallest, largest = smallest / divisor, largest / divisor
    axes.set_xlabel(label)
    if log:
        ratio = max(largest / smallest, 1.5)
        left, right = smallest / ratio**0.06, largest * ratio**0.06
        axes.set_xscale("log")
        ticks = log_ticks(left, right)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    else:
        # Budgets start at nothing; only curves far from there leave it out.
        left = (
            0.0 if smallest < 0.5 * largest or smallest == largest else smallest - 0.06 * (largest - smallest)
        )
        right = largest + 0.05 * (largest - left)
        ticks = even_ticks(left, right)
        axes.set_xticks(ticks, tick_labels(ticks))
    axes.set_xlim(left, right)
    return divisor


def draw(axes: Axes, one: Series, number: int, divisor: float, *, steps: bool) -> Line2D:
    """One series on axes whose x limits are set: the line, which is returned, with markers, bars or band."""
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    # With more curves than colours the line's dashes tell them apart.
    dashes = ("-", "--", ":")[number // len(COLOURS) % 3] if one.joined else "none"
    x, y, low, high = one.costs / divisor, one.values, one.low, one.high
    points = len(x)
    if steps and one.joined:
        # The last stage answers for every larger budget, up to the edge of the figure.
        x = np.append(x, axes.get_xlim()[1])
        y, low, high = (np.append(v, v[-1]) for v in (y, low, high))
    (drawn,) = axes.plot(
        x,
        y,
        linestyle=dashes,
        drawstyle="steps-post" if steps else "default",
        color=colour,
        linewidth=1.3,
        marker=marker,
        # A sweep of many points is a line with dots, not a row of shapes that cover it.
        markersize=3.6 if points <= 20 else 1.8,
        markevery=range(points),
        zorder=3,
    )
    if one.mark == "band":
        axes.fill_between(x, low, high, step="post" if steps else None, color=colour, alpha=0.2, linewidth=0)
    elif one.mark in ("bars", "sd"):
        bars = np.abs(np.stack([low, high]) - y)[:, :points]
        axes.errorbar(
            x[:points],
            y[:points],
            bars,
            fmt="none",
            ecolor=colour,
            elinewidth=0.7,
            capsize=1.8,
            capthick=0.7,
            alpha=0.75,
        )
    return drawn


def set_score_axis(
    axes: Axes, series: Sequence[Series], label: str, chance: float | None, percent: bool = True
) -> None:
    """Label, limits and ticks of the y axis, and a dotted line at `chance` percent if there is one."""
    low, high = min(one.low.min() for one in series), max(one.high.max() for one in series)
    if chance is not None:
        low, high = min(low, chance), max(high, chance)
        axes.axhline(chance, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        axes.annotate(
            "chance",
            (1, chance),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=7,
            color=GREY,
        )
    axes.set_ylabel(label)
    bottom, top, ticks = score_limits(low, high, percent=percent)
    axes.set_ylim(bottom, top)
    axes.set_yticks(ticks, tick_labels(ticks))
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
