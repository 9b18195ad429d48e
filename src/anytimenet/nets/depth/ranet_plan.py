"""The arithmetic of RANet: the blocks of each flow, where they shrink and narrow, and their widths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from anytimenet.nets.arguments import check_positive, check_word
from anytimenet.nets.depth.msdnet_plan import STEP_MODES


@dataclass(frozen=True)
class PlannedBlock:
    """One block of dense layers in one flow.

    Attributes:
        flow, number: which block of which flow, both from 1.
        stage: the first stage that needs it.
        has_exit: whether that stage's prediction reads it; its flow's first blocks have no exit.
        level: resolution of its input; 0 is the coarsest, level l has 2**l times its height and width.
        shrinks: whether its last layer goes one level lower.
        layers: how many it has.
        width: channels of its input.
        growth: channels that each layer adds.
        borrowed: how many of those come from the flow before; 0 in a block that takes in nothing.
        tail: channels of the flow before that are joined behind its last layer; 0 likewise.
        transition: channels behind the transition that follows; None if none follows.
    """

    flow: int
    number: int
    stage: int
    has_exit: bool
    level: int
    shrinks: bool
    layers: int
    width: int
    growth: int
    borrowed: int
    tail: int
    transition: int | None

    @property
    def level_after(self) -> int:
        """Level of its output."""
        return self.level - self.shrinks

    def width_before(self, layer: int) -> int:
        """Channels that layer `layer`, from 1, reads; of `layers + 1` those behind the last."""
        return self.width + (layer - 1) * self.growth

    @property
    def width_after(self) -> int:
        """Channels behind its last layer, before tail and transition."""
        return self.width_before(self.layers + 1)

    @property
    def output(self) -> int:
        """Channels of its output."""
        return self.width_after + self.tail if self.transition is None else self.transition


@dataclass(frozen=True)
class RANetPlan:
    """The parameters of a RANet's flows; `flows()` is what follows from them.

    Flow f, from 1, starts `scales[f-1] - 1` levels above the coarsest and ends on the coarsest. Its first
    blocks, as many as flow f-1 has, take in that flow's features; each block after those has an exit. A flow
    of s scales shrinks at the ends of the s - 1 flows before it: in the blocks n_(f-s+1), .., n_(f-1), where
    flow g has n_g blocks. It narrows after its blocks floor(j * n_f / s), j = 1..s-1.

    Attributes:
        blocks: of each flow; increasing.
        scales: resolutions that each flow passes through: 1 for the first flow, 2 or more for others, each as
            many as before or one more.
        layers: of each block with "even"; with "lin_grow" block i of every flow has `layers * i`.
        channels: base width of the first layer.
        growth: base width that a dense layer adds.
        growth_factors: of each flow; channels and growth are multiplied by it.
        bottleneck_factors: of each flow: a bottleneck is so many times as wide as what its edge adds.
        step_mode: "even" or "lin_grow".
        share: of a fusing layer's new channels, and of the channels behind a fusing block, the share that
            comes from the flow before.
        reduction: share of the channels that a transition keeps.

    Raises:
        ValueError: for numbers or lists that make no net.

    >>> plan = RANetPlan(blocks=(2, 4), scales=(1, 2), layers=4, channels=16, growth=6,
    ...                  growth_factors=(4, 2), bottleneck_factors=(4, 2))
    >>> [(block.level, block.width, block.output) for block in plan.flows()[1]]
    [(1, 32, 100), (1, 100, 92), (0, 92, 140), (0, 140, 188)]
    """

    blocks: tuple[int, ...]
    scales: tuple[int, ...]
    layers: int
    channels: int
    growth: int
    growth_factors: tuple[int, ...]
    bottleneck_factors: tuple[int, ...]
    step_mode: str = "even"
    share: float = 0.25
    reduction: float = 0.5

    def __post_init__(self) -> None:
        check_positive(layers=self.layers, channels=self.channels, growth=self.growth)
        check_word("step_mode", self.step_mode, STEP_MODES)
        self._check_lists()
        self._check_shares()

    @property
    def exits(self) -> int:
        """Stages: the blocks of the last flow, since each flow has one for each block beyond those before."""
        return self.blocks[-1]

    def first_width(self, flow: int) -> int:
        """Channels that flow `flow` starts from."""
        return self.channels * self.growth_factors[flow - 1]

    def growth_of(self, flow: int) -> int:
        """Channels that each layer of flow `flow` adds."""
        return self.growth * self.growth_factors[flow - 1]

    def borrowed_of(self, flow: int) -> int:
        """How many of those a fusing layer takes from the flow before."""
        return math.floor(self.share * self.growth_of(flow))

    def shrinks_in(self, flow: int) -> tuple[int, ...]:
        """The blocks of flow `flow` that end one level lower."""
        return self.blocks[flow - self.scales[flow - 1] : flow - 1]

    def narrows_after(self, flow: int) -> tuple[int, ...]:
        """The blocks of flow `flow` that a transition follows."""
        scales = self.scales[flow - 1]
        return tuple(j * self.blocks[flow - 1] // scales for j in range(1, scales))

    def flows(self) -> tuple[tuple[PlannedBlock, ...], ...]:
        """The blocks of each flow."""
        return tuple(self._flow(flow) for flow in range(1, len(self.blocks) + 1))

    def _flow(self, flow: int) -> tuple[PlannedBlock, ...]:
        fused = 0 if flow == 1 else self.blocks[flow - 2]
        level, width, growth = self.scales[flow - 1] - 1, self.first_width(flow), self.growth_of(flow)
        found: list[PlannedBlock] = []
        for number in range(1, self.blocks[flow - 1] + 1):
            layers = self.layers if self.step_mode == "even" else self.layers * number
            after, fuses = width + layers * growth, number <= fused
            tail = math.floor(self.share * after) if fuses else 0
            narrows = number in self.narrows_after(flow)
            block = PlannedBlock(
                flow=flow,
                number=number,
                stage=max(number, fused + 1),
                has_exit=not fuses,
                level=level,
                shrinks=number in self.shrinks_in(flow),
                layers=layers,
                width=width,
                growth=growth,
                borrowed=self.borrowed_of(flow) if fuses else 0,
                tail=tail,
                transition=math.floor(self.reduction * (after + tail)) if narrows else None,
            )
            found.append(block)
            level, width = block.level_after, block.output
        return tuple(found)

    def _check_lists(self) -> None:
        lists = (self.blocks, self.scales, self.growth_factors, self.bottleneck_factors)
        if not self.blocks or len({len(values) for values in lists}) > 1 or min(map(min, lists)) < 1:
            raise ValueError(
                f"blocks {self.blocks}, scales {self.scales}, growth_factors {self.growth_factors} and "
                f"bottleneck_factors {self.bottleneck_factors}: one of each for every flow, 1 or more, "
                "is needed"
            )
        if list(self.blocks) != sorted(set(self.blocks)):
            raise ValueError(
                f"blocks {self.blocks}: each flow needs more blocks than the one before, for its exits; "
                "for example (2, 4, 6)"
            )
        self._check_scales()

    def _check_scales(self) -> None:
        rises = {after - before for before, after in pairwise(self.scales)}
        if self.scales[0] != 1 or not rises <= {0, 1}:
            raise ValueError(
                f"scales {self.scales}: 1 first, and each flow as many as the one before or one more; "
                "for example (1, 2, 3)"
            )
        if 1 in self.scales[1:]:
            raise ValueError(
                f"scales {self.scales}: only the first flow has one scale; every later flow reads the image "
                "at a higher resolution and needs 2 or more, for example (1, 2, 2)"
            )
        for flow, (before, scales) in enumerate(zip(self.blocks, self.scales[1:], strict=False), 2):
            if before < scales:
                raise ValueError(
                    f"flow {flow} passes through {scales} scales, but only {before} of its blocks take in "
                    f"features of flow {flow - 1}: give flow {flow - 1} at least {scales} blocks"
                )

    def _check_shares(self) -> None:
        _check_share("share", self.share, below=True)
        _check_share("reduction", self.reduction, below=False)
        for flow in range(2, len(self.blocks) + 1):
            if not self.borrowed_of(flow):  # a tail is a share of more, so that it is never none then
                enough = math.ceil(1 / (self.share * self.growth_factors[flow - 1]))
                raise ValueError(
                    f"share {self.share} of the {self.growth_of(flow)} channels that a layer of flow {flow} "
                    f"adds is none: growth must be at least {enough}"
                )
        if any(block.transition == 0 for flow in self.flows() for block in flow):
            raise ValueError(f"reduction {self.reduction} leaves a transition no channels: take a larger one")


def _check_share(name: str, value: float, *, below: bool) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 < value <= 1 or (below and value == 1):
        raise ValueError(f"{name} {value!r}: a share over 0 and {'below' if below else 'up to'} 1 is needed")
