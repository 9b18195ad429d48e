"""Where the ticks of a figure go: plain numbers that a reader can use."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MANTISSAS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 6, 8))
"""Ticks of one decade, from few to many."""


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Ticks of a logarithmic axis: the densest familiar set with no more than `most` between the ends.

    A range too narrow for any of them gets evenly spaced round numbers, a very wide one some of its decades.

    >>> log_ticks(11.3, 140)
    [15.0, 20.0, 30.0, 50.0, 70.0, 100.0]
    >>> log_ticks(0.35, 1.95)
    [0.4, 0.6, 0.8, 1.0, 1.5]
    >>> log_ticks(103, 118)
    [105.0, 110.0, 115.0]
    """
    decades = [10.0**d for d in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    sets = [
        [float(f"{m * decade:.6g}") for decade in decades for m in mantissas if low <= m * decade <= high]
        for mantissas in _MANTISSAS
    ]
    if len(sets[0]) > most:
        return sets[0][:: math.ceil(len(sets[0]) / most)]
    best = [ticks for ticks in sets if len(ticks) <= most][-1]
    return best if len(best) >= 3 else even_ticks(low, high)


def even_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 (or 25, 250, ...) times a power of ten between `low` and `high`, at most `most`.

    >>> even_ticks(95.2, 99.4)
    [96.0, 97.0, 98.0, 99.0]
    """
    scale = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10, 20):
        step = factor * scale
        if factor == 2.5 and scale < 10:
            continue
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            break
    return [float(f"{place * step:.10g}") for place in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks of a linear axis, all with as many decimals as the one that needs most.

    >>> tick_labels([0.0, 0.5, 1.0]), tick_labels([96.0, 98.0])
    (['0.0', '0.5', '1.0'], ['96', '98'])
    """
    decimals = max(len(f"{tick:.10g}".partition(".")[2]) for tick in ticks)
    return [f"{tick:.{decimals}f}" for tick in ticks]


def score_limits(low: float, high: float, *, percent: bool = True) -> tuple[float, float, list[float]]:
    """Bottom, top and ticks of an axis of scores around data from `low` to `high`.

    They span at least one point, so that noise does not look like a slope; a margin keeps markers whole;
    ticks of percentages stay within 0..100.

    >>> score_limits(95.0, 99.5)[2]
    [95.0, 96.0, 97.0, 98.0, 99.0]
    """
    margin = 0.07 * (high - low) + max(0.0, 1 - (high - low)) / 2
    bottom, top = low - margin, high + margin
    ends = (max(bottom, 0.0), min(top, 100.0)) if percent else (bottom, top)
    return bottom, top, even_ticks(*ends)
