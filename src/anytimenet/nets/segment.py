"""Segments: the work between two stages, and the states that lie between segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from anytimenet.core.checks import LARGEST, flag, whole_number
from anytimenet.core.segments import INPUT

Output = tuple[Tensor, ...]
"""The logits of one stage: one tensor per label level, fine level first, classes on dim 1."""

State = tuple[Tensor, ...]
"""The tensors that later segments need; it depends on the stage reached, never on the path taken."""

CHANNELS = 0
"""The axis of the channels in one example, along which states grow."""

Join = Callable[[str, Tensor | None, Tensor, int], Tensor]
"""`join(name, old, new, axis)` gives the tensor `name`: `old`, None if there is nothing yet, and behind it
`new`, along `axis` of one example, 0 for channels (a batch has a dimension before). It may lie in new memory,
as `concatenate` does it, or behind `old` in a buffer that was allocated for the whole, so that nothing is
copied but `new`.

One old tensor can be the beginning of several new ones, of which one alone can lie in its buffer.
"""


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


def rows(state: State, index: Tensor | Sequence[int] | slice) -> State:
    """The examples `index` of a state: those of a batch that go on, while others have their answer.

    Examples do not depend on each other: going on with some rows gives those rows of going on with all.

    Args:
        state: of a batch; every tensor has the batch first.
        index: numbers of the examples, a mask `(N,)` of bool, or a slice.

    Raises:
        TypeError: for a single number, which would take the batch away.

    >>> [tuple(tensor.shape) for tensor in rows((torch.zeros(4, 3, 8, 8), torch.zeros(4, 16)), [2, 0])]
    [(2, 3, 8, 8), (2, 16)]
    """
    if isinstance(index, Sequence):
        # A tuple would name dimensions, and an empty list no type of number.
        index = torch.as_tensor(index) if len(index) else torch.empty(0, dtype=torch.long)
    elif not isinstance(index, Tensor | slice) or (isinstance(index, Tensor) and index.ndim != 1):
        raise TypeError(f"index {index!r}: several examples are needed, [{index!r}] for one")
    return tuple(tensor[index] for tensor in state)


def concatenate(name: str, old: Tensor | None, new: Tensor, axis: int) -> Tensor:
    """The eager `Join`: both in new memory; the new part itself where nothing is finished yet."""
    return new if old is None else torch.cat([old, new], axis + 1)


Changes = Mapping[str, tuple[str, int] | None]
"""Of each tensor that a segment gives: None, or the earlier tensor that it continues, and the axis."""


class HasStages(Protocol):
    """What a segment reads of its net."""

    num_stages: int

    def state_names(self, stage: int) -> tuple[str, ...]: ...


class Segment(nn.Module):
    """The work from stage `start` to stage `stop`, in eval mode, with weights that never change.

    Called with the state at `start` it returns `(state, output)` at `stop`; with `last=True` the output
    alone. After the net's last stage the state is empty. `advance` is the same without the tensors that stay
    as they are, and lets the caller say where new tensors lie.

    A family writes one of `work` and `advance`, the second where tensors of a state grow; both may skip
    building the new state when `self.carries` is false. What a segment holds of the net may be the net's
    own modules and views of its tensors: `segment` and `snapshot` see to copies.

    Attributes:
        reads: names of the tensors of the state at `start`, in order.
        writes: names of those of the state at `stop`, in order; none with `last=True`.
        changes: those of `writes` that may be new, and for each of them None, or the tensor of `reads` that
            is its unchanged beginning and the axis of one example along which it grows. The others are
            carried.
    """

    changes: Changes

    def __init__(self, net: HasStages, start: int, stop: int, *, last: bool) -> None:
        super().__init__()
        self.start = start
        self.stop = stop
        self.last = last
        self.carries = not last and stop < net.num_stages
        self.reads = net.state_names(start)
        self.writes = net.state_names(stop) if self.carries else ()
        self.changes = {name: None for name in self.writes if name != INPUT}

    def advance(self, state: State, join: Join) -> tuple[dict[str, Tensor], Output]:
        """What is new in the state at `stop`, by name, and the output of stage `stop`.

        Tensors that are carried, the input among them, are not returned. `join` is called wherever finished
        channels and new ones meet, and for new tensors that will grow: it decides where the whole lies.
        """
        if type(self).work is Segment.work:
            raise NotImplementedError(f"{type(self).__name__} must define work or advance")
        new_state, output = self.work(state)
        old = dict(zip(self.reads, state, strict=True))
        pairs = zip(self.writes, new_state if self.carries else (), strict=True)
        return {n: tensor for n, tensor in pairs if n != INPUT and old.get(n) is not tensor}, output

    def work(self, state: State) -> tuple[State, Output]:
        """The new state (ignored unless `self.carries`) and the output of stage `stop`."""
        changes, output = self.advance(state, concatenate)
        now = {**dict(zip(self.reads, state, strict=True)), **changes}
        return tuple(now[name] for name in self.writes), output

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
