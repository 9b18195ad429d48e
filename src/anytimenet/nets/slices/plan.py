"""Which slices each block of a sliced net writes, and what a state holds of the finished ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from anytimenet.nets.arguments import as_numbers

Range = tuple[int, int]
"""The first and the last slice that a block writes, counted from 1."""

FEATURES = "features"
"""The trunk after the last block: what heads read."""


@dataclass(frozen=True)
class SlicePlan:
    """The blocks of a sliced net in order; a run of `n` slices runs the blocks whose first slice is <= n.

    A block that writes slices first..last reads slices 1..j for each slice j that it writes. A state after
    `n` slices holds, in the order of the blocks and each once,

    - "u3", the normalised input of the third block, if that block has run and will write later slices;
    - "t3", the trunk before the third block, if only later slices run a block there: the BatchNorm of that
      block belongs to them. It is named after the first place since which the trunk is unchanged;
    - "features", which is also the trunk before blocks that nothing but later slices follows.

    Attributes:
        ranges: what each block writes; None for a place that is left empty.
        blocks_per_scale: places of each scale; a transition stands before the first one of later scales.

    >>> plan = SlicePlan(((1, 2), (2, 2), (1, 1), (2, 2)), blocks_per_scale=(4,))
    >>> plan.state(1)
    {'u1': 0, 't2': 1, 'features': 4}
    """

    ranges: tuple[Range | None, ...]
    blocks_per_scale: tuple[int, ...]

    @property
    def starts(self) -> frozenset[int]:
        """Places, counted from 0, before which there is a transition."""
        return frozenset(list(accumulate(self.blocks_per_scale))[:-1])

    @property
    def scales(self) -> tuple[int, ...]:
        """The scale of each place, counted from 0, and that of the features."""
        found = [scale for scale, count in enumerate(self.blocks_per_scale) for _ in range(count)]
        return (*found, found[-1])

    def cut(self, slices: int) -> tuple[Range | None, ...]:
        """The ranges of the net with slices 1..`slices` alone; blocks that it never runs leave a gap."""
        return tuple(
            (run[0], min(run[1], slices)) if run is not None and run[0] <= slices else None
            for run in self.ranges
        )

    def state(self, slices: int) -> dict[str, int]:
        """The names of the state after `slices` slices, without "x", each with the place where it is read."""
        found: dict[str, int] = {}
        for place, run in enumerate(self.ranges):
            if run is not None and run[1] > slices:
                found.setdefault(self.source(slices, place), place)
        found.pop(FEATURES, None)
        return {**found, FEATURES: len(self.ranges)}

    def continued(self, finished: int, slices: int) -> dict[str, str | None]:
        """For each name of the state after `slices` slices the one after `finished` slices that it continues.

        None where nothing is finished, or a block has not normalised the finished slices yet.

        >>> SlicePlan(((1, 2), (2, 2), (2, 3)), blocks_per_scale=(3,)).continued(1, 2)
        {'u3': None, 'features': 'features'}
        """
        if not finished:
            return dict.fromkeys(self.state(slices))
        found: dict[str, str | None] = {}
        for name, place in self.state(slices).items():
            old = FEATURES if name == FEATURES else self.source(finished, place)
            found[name] = None if name.startswith("u") and old != name else old
        return found

    def source(self, slices: int, place: int) -> str:
        """The tensor of that state from which the block at `place` takes slices 1..`slices`."""
        return f"u{place + 1}" if self._runs(place, slices) else self.trunk(slices, place)

    def trunk(self, slices: int, place: int) -> str:
        """The name of slices 1..`slices` of the trunk before `place`: the same wherever they are the same."""
        end = place
        while end < len(self.ranges) and self._passes(end, slices):
            end += 1
        if end == len(self.ranges):
            return FEATURES
        while place > 0 and self._passes(place - 1, slices):
            place -= 1
        return f"t{place + 1}"

    def _runs(self, place: int, slices: int) -> bool:
        run = self.ranges[place]
        return run is not None and run[0] <= slices

    def _passes(self, place: int, slices: int) -> bool:
        """Whether slices 1..`slices` of the trunk are the same before `place` and before the next place."""
        return not self._runs(place, slices) and place + 1 not in self.starts


def check_block_slices(
    block_slices: Sequence[Sequence[int] | None] | None, blocks: Sequence[int], slices: int
) -> tuple[Range | None, ...]:
    """`block_slices` as ranges; None: every block writes all slices.

    Raises:
        ValueError: unless there is one range a block, each inside 1..`slices`, and each slice is written.
    """
    if block_slices is None:
        return ((1, slices),) * sum(blocks)
    if not isinstance(block_slices, Sequence) or len(block_slices) != sum(blocks):
        raise ValueError(
            f"block_slices {block_slices!r}: blocks {tuple(blocks)} are {sum(blocks)} blocks, "
            "a range (first, last) of slices is needed for each of them"
        )
    ranges = tuple(
        None if given is None else _check_range(given, number, slices)
        for number, given in enumerate(block_slices, 1)
    )
    written = {j for run in ranges if run is not None for j in range(run[0], run[1] + 1)}
    for j in range(1, slices + 1):
        if j not in written:
            raise ValueError(
                f"block_slices {ranges}: no block writes slice {j}; widen the range of one block, "
                "or build the net with fewer slices"
            )
    return ranges


def _check_range(given: Sequence[int], number: int, slices: int) -> Range:
    pair = as_numbers("block_slices", given)
    if len(pair) != 2:
        raise ValueError(
            f"block_slices: block {number} has {pair}; the first and the last slice that it writes are needed"
        )
    first, last = pair
    if not 1 <= first <= last <= slices:
        nearest = min(max(first, 1), slices), min(max(last, first, 1), slices)
        raise ValueError(
            f"block_slices: block {number} cannot write slices {first} to {last} of 1 to {slices}; "
            f"the nearest range that works is {nearest}"
        )
    return first, last
