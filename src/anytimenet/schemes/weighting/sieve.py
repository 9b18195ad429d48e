"""SIEVE: half of all weight on the last stage, the rest by a sieve of ever finer grids.

From the workshop paper that precedes "Learning Anytime Predictions in Neural Networks via Adaptive Loss
Balancing" (Hu et al., arXiv 1708.06832), and the forms that the authors released.

EXP-LIN, which the workshop paper names in a footnote as heavier on the final loss, is inferred to be
"heavy_end": no source at hand says so. Of the fixed weights with which the authors' scripts ran the paper's
nets the paper names all but that one, and they describe it as falling exponentially at half, a quarter, .. of
the depth, and constant elsewhere. It gives the final loss half of the total, as SIEVE does, and a quarter to
the middle of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from anytimenet.core.errors import suggest
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import RunFacts, Weighting
from anytimenet.schemes.weighting.stage_weights import StageWeights, check_total, rescale

SieveVersion = Literal["text", "from_end", "v2", "heavy_end"]


@dataclass(frozen=True)
class SieveWeights:
    """SIEVE: the last stage has the weight 1, the earlier ones share 1 in proportion to `sieve_units`.

    Args:
        version: which of the published forms; see `sieve_units`.
        total: the sum that all weights are rescaled to; None for 2 (1 for a single stage).

    Raises:
        ValueError: for an unknown version, or a total that is not a positive number.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.schemes import RunFacts
    >>> weights = SieveWeights().build(create_net("msdnet_tiny"), RunFacts()).weights([1, 2, 3])
    >>> {stage: round(weight, 3) for stage, weight in weights.items()}
    {1: 0.333, 2: 0.667, 3: 1.0}
    """

    version: SieveVersion = "text"
    total: float | None = None

    def __post_init__(self) -> None:
        _check_version(self.version)
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`."""
        units = sieve_units(net.num_stages, self.version)
        return StageWeights(rescale([*(unit / sum(units) for unit in units), 1.0], self.total))


def sieve_units(stages: int, version: SieveVersion = "text") -> list[int]:
    """The units of all stages but the last; the last has as many as they have together.

    With L stages, counted from 1:

    - "text", the workshop paper: for m = 1, 2, ... one unit at each of round(k L / 2^m), k = 1..2^m - 1,
      until all of them have one. The text leaves two things open: here halves are rounded up, and a stage
      that a level meets twice gets one unit for it.
    - "from_end", the released default: a stage at distance j from the last gets one unit for each 2^m < L
      (m = 0, 1, ...) that divides j.
    - "v2", the second released form: one unit for each, and for steps of L/2, L/4, ... that round to more
      than 1, one at each of trunc(k step) + 1, k = 1, 2, ...
    - "heavy_end", released as the recursive heavy end: one for each; L/2 more at stage (L-1)//2 + 1, and
      then at half of that place, counted from 0 and rounded down, half as many, and so on down to stage 1;
      L/8 more at stage 3L//4. Halves are not rounded: the units are multiplied by what makes them whole.

    Raises:
        ValueError: for fewer than one stage, or an unknown version.

    >>> sieve_units(10)
    [2, 1, 3, 2, 4, 2, 1, 3, 2]
    """
    _check_version(version)
    if stages < 1:
        raise ValueError(f"a net has at least one stage, not {stages}")
    return _VERSIONS[version](stages)[: stages - 1]


def _text(stages: int) -> list[int]:
    units, level = [0] * stages, 0
    while not all(units[:-1]):
        level += 1
        # round(k L / 2^m), halves up, in whole numbers.
        met = {(2 * k * stages + 2**level) // 2 ** (level + 1) for k in range(1, 2**level)}
        for stage in met:
            units[stage - 1] += 1
    return units


def _from_end(stages: int) -> list[int]:
    units, stride = [0] * stages, 1
    while stride < stages:
        for distance in range(stride, stages, stride):
            units[stages - 1 - distance] += 1
        stride *= 2
    return units


def _v2(stages: int) -> list[int]:
    units, level = [1] * stages, 1
    # The step L / 2^m rounds to more than 1 as long as it is at least 1.5.
    while 2 * stages >= 3 * 2**level:
        for k in range(1, 2**level):
            units[k * stages // 2**level] += 1
        level += 1
    return units


def _heavy_end(stages: int) -> list[int]:
    units = [Fraction(1)] * stages
    place, more = stages - 1, Fraction(stages)
    while place > 0:
        place, more = place // 2, more / 2
        units[place] += more
    if stages > 1:
        units[3 * stages // 4 - 1] += Fraction(stages, 8)
    scale = math.lcm(*(unit.denominator for unit in units))
    return [int(unit * scale) for unit in units]


_VERSIONS: Mapping[str, Callable[[int], list[int]]] = {
    "text": _text,
    "from_end": _from_end,
    "v2": _v2,
    "heavy_end": _heavy_end,
}


def _check_version(version: str) -> None:
    if version not in _VERSIONS:
        raise ValueError(f"no version of SIEVE is named {version!r}: {suggest(version, _VERSIONS)}")
