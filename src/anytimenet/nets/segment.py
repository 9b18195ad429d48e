"""Segments: the work between two stages, and the states that lie between segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from anytimenet.core.checks import LARGEST, flag, whole_number

Output = tuple[Tensor, ...]
"""The logits of one stage: one tensor per label level, fine level first, classes on dim 1."""

State = tuple[Tensor, ...]
"""The tensors that later segments need; it depends on the stage reached, never on the path taken."""


def check_segment(start: int, stop: int, last: bool, num_stages: int) -> tuple[int, int, bool]:
    """All three as given, if there is such a segment.

    Raises:
        ValueError: unless 0 <= start < stop <= K.
    """
    start, stop = whole_number(start, "start", -LARGEST), whole_number(stop, "stop", -LARGEST)
    if not 0 <= start < stop <= num_stages:
        raise ValueError(
            f"segment ({start}, {stop}) does not exist: 0 <= start < stop <= {num_stages} is needed"
        )
    return start, stop, flag(last, "last")


class HasStages(Protocol):
    """What a segment reads of its net."""

    num_stages: int


class Segment(nn.Module):
    """The work from stage `start` to stage `stop`, in eval mode, with weights that never change.

    Called with the state at `start` it returns `(state, output)` at `stop`; with `last=True` the output
    alone. After the net's last stage the state is empty. A family writes `work` only, and may skip
    building the new state when `self.carries` is false. What it holds of the net may be the net's own
    modules and views of its tensors: `segment` and `snapshot` see to copies.
    """

    def __init__(self, net: HasStages, start: int, stop: int, *, last: bool) -> None:
        super().__init__()
        self.start = start
        self.stop = stop
        self.last = last
        self.carries = not last and stop < net.num_stages

    def work(self, state: State) -> tuple[State, Output]:
        """The new state (ignored unless `self.carries`) and the output of stage `stop`."""
        raise NotImplementedError

    def forward(self, state: State) -> Any:
        new_state, output = self.work(state)
        if self.last:
            return output
        return (new_state if self.carries else ()), output

    def train(self, mode: bool = True) -> Segment:
        if mode:
            raise RuntimeError("a segment is a snapshot for deployment; train the net and take a new segment")
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Segment:
        """What `to`, `half`, `cuda` and their like call with a function from tensor to tensor.

        Raises:
            RuntimeError: if a tensor would change.
        """
        for tensor in (*self.parameters(), *self.buffers()):
            if fn(tensor) is not tensor:
                raise RuntimeError(
                    "a segment cannot be moved or converted: it may share its weights with other segments. "
                    "Take it from a snapshot that is what you need: net.snapshot(device, dtype).segment(...)"
                )
        return self

    def extra_repr(self) -> str:
        return f"({self.start}, {self.stop}), last={self.last}"
