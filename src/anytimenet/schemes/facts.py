"""What a scheme may know of the run that it is built for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anytimenet.nets.contract import AnytimeNet


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What hooks ask when they are built; each says what it misses.

    Attributes:
        seed: of all that is drawn at random; equal in all processes that train together.
        stage_macs: gives the multiply-adds of each stage's sub-network, for weights that follow the cost.
        teacher: a trained net that the stages learn from; it is not changed.
    """

    seed: int = 0
    stage_macs: Callable[[], Sequence[float]] | None = None
    teacher: AnytimeNet | None = None
