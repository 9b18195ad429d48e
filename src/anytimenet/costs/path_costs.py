"""What the segments of one path cost: the counted side of a run."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.costs.counting import count
from anytimenet.costs.rules import Rules
from anytimenet.costs.stage_costs import countable
from anytimenet.nets.contract import AnytimeNet, Segment, State


def segment_macs(
    net: AnytimeNet,
    input_shape: Sequence[int],
    path: Sequence[tuple[int, int]],
    *,
    rules: Rules | None = None,
) -> list[int]:
    """The multiply-adds of each segment of `path` for one image of `input_shape` (C, H, W).

    Works on a copy of the net on the meta device, as `stage_costs` does; the net stays as it is.

    Args:
        net: any anytime net.
        input_shape: (C, H, W), without the batch.
        path: segments (start, stop), the first from 0, each from where the one before stops.
        rules: for operators that the counter does not know, as in `stage_costs`; without one they count 0.

    Raises:
        ValueError: if the segments are no path of this net, or it cannot read images of that shape.

    >>> from anytimenet.nets import create_net
    >>> net = create_net("isresnext_tiny")
    >>> segment_macs(net, (3, 8, 8), [(0, 1), (1, 3)]), segment_macs(net, (3, 8, 8), [(0, 3)])
    ([17056, 38880], [55776])
    """
    input_shape = net.input_spec.shape_of(input_shape)
    for (start, stop), reached in zip(path, (0, *(stop for _, stop in path)), strict=False):
        if start != reached:
            raise ValueError(f"segment ({start}, {stop}) cannot follow stage {reached}: start it there")
    net, image = countable(net, input_shape)
    snapshot = net.snapshot()
    state: State = (image,)
    found = []
    for start, stop in path:
        macs, state = _count(snapshot.segment(start, stop), state, rules)
        found.append(macs)
    return found


def _count(segment: Segment, state: State, rules: Rules | None) -> tuple[int, State]:
    """The cost of one segment, and the state that it leaves."""
    reached: list[State] = []
    counted = count(lambda: reached.append(segment(state)[0]), rules=rules, uncounted=set())
    return counted.macs, reached[0]
