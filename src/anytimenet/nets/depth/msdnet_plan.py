"""The arithmetic of MSDNet: which layer is in which block, the scales that it keeps, and its widths."""

from __future__ import annotations

import math
from dataclasses import dataclass

from anytimenet.nets.arguments import check_positive, check_word

STEP_MODES = ("even", "lin_grow")
PRUNE_MODES = ("max", "min")


@dataclass(frozen=True)
class PlannedLayer:
    """One layer. Scale 0 is the finest; at scale s there are width * growth_factors[s] channels.

    Attributes:
        number: l, from 1.
        block: the block that it is in, from 1.
        reads_from: finest scale of its input.
        finest: finest scale that it computes; one more than `reads_from` where it drops a scale.
        width: base width of its input.
        width_after: base width of its output, which is `growth` more.
        transition: base width behind the transition that follows it; None if none follows.
    """

    number: int
    block: int
    reads_from: int
    finest: int
    width: int
    width_after: int
    transition: int | None


@dataclass(frozen=True)
class MSDNetPlan:
    """The parameters of an MSDNet's trunk; `layers()` is what follows from them.

    Attributes:
        exits: blocks, and predictions; K.
        base: layers of the first block.
        step: layers of a later block with "even"; with "lin_grow" block i has step * (i - 1) + 1.
        step_mode: "even" or "lin_grow".
        channels: base width of the first layer.
        growth: base width that each layer adds.
        growth_factors: of each scale, finest first; channels and growth are multiplied by it.
        bottleneck_factors: of each scale: a bottleneck behind that scale is so many times as wide as what its
            edge adds.
        bottleneck: False leaves the bottlenecks out.
        prune: "max" drops a scale after every ceil(N / S) layers, "min" as late as the last exit allows.
        reduction: share of the base width that a transition keeps.

    Raises:
        ValueError: for a number, list or mode that makes no net.

    >>> plan = MSDNetPlan(exits=3, base=2, step=2, channels=16, growth=6, growth_factors=(1, 2, 4),
    ...                   bottleneck_factors=(1, 2, 4))
    >>> plan.layers_per_block(), [layer.finest for layer in plan.layers()]
    ((2, 2, 2), [0, 0, 1, 1, 2, 2])
    >>> [layer.transition for layer in plan.layers()]
    [None, None, 17, None, 14, None]
    """

    exits: int
    base: int
    step: int
    channels: int
    growth: int
    growth_factors: tuple[int, ...]
    bottleneck_factors: tuple[int, ...]
    step_mode: str = "even"
    bottleneck: bool = True
    prune: str = "max"
    reduction: float = 0.5

    def __post_init__(self) -> None:
        check_positive(
            exits=self.exits, base=self.base, step=self.step, channels=self.channels, growth=self.growth
        )
        check_word("step_mode", self.step_mode, STEP_MODES)
        check_word("prune", self.prune, PRUNE_MODES)
        self._check_factors()
        if not isinstance(self.reduction, int | float) or not 0 < self.reduction <= 1:
            raise ValueError(f"reduction {self.reduction!r}: a share over 0 and up to 1 is needed")
        if any(layer.transition == 0 for layer in self.layers()):
            raise ValueError(f"reduction {self.reduction} leaves a transition no channels: take a larger one")

    def layers_per_block(self) -> tuple[int, ...]:
        """How many layers each block has."""
        if self.step_mode == "even":
            return (self.base, *(self.step for _ in range(1, self.exits)))
        return (self.base, *(self.step * block + 1 for block in range(1, self.exits)))

    def layers(self) -> tuple[PlannedLayer, ...]:
        """Every layer after the first one, which is layer 0."""
        counts = self.layers_per_block()
        total = sum(counts)
        found: list[PlannedLayer] = []
        width, number = self.channels, 0
        for block, count in enumerate(counts, 1):
            for _ in range(count):
                number += 1
                finest = self._finest(number, total)
                reads_from = self._finest(number - 1, total) if number > 1 else 0
                after = width + self.growth
                transition = (
                    math.floor(self.reduction * after)
                    if self._has_transition(number, total, drops=finest > reads_from)
                    else None
                )
                found.append(PlannedLayer(number, block, reads_from, finest, width, after, transition))
                width = after if transition is None else transition
        return tuple(found)

    def _finest(self, number: int, total: int) -> int:
        scales = len(self.growth_factors)
        if self.prune == "max":
            return (number - 1) // math.ceil(total / scales)
        return scales - min(scales, total - number + 1)

    def _has_transition(self, number: int, total: int, *, drops: bool) -> bool:
        if self.prune == "max":
            return drops
        return number in (total // 3, 2 * total // 3)

    def _check_factors(self) -> None:
        growth, bottleneck = self.growth_factors, self.bottleneck_factors
        if not growth or len(growth) != len(bottleneck) or min(growth + bottleneck) < 1:
            raise ValueError(
                f"growth_factors {growth} and bottleneck_factors {bottleneck}: one of each for every scale, "
                "1 or more, is needed"
            )
        odd = [factor for factor in growth[1:] if self.growth * factor % 2]
        if odd:
            raise ValueError(
                f"growth {self.growth} times the factor {odd[0]} is odd: half of it comes from the finer "
                f"scale, so that growth must be even, for example {self.growth + 1}"
            )
