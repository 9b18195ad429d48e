"""Buffers of states that grow: what is new is written behind what is finished, and nothing is copied.

In `(C, H, W)` the channels of one image follow each other in memory, so that the first c of them are one
block and the next ones lie directly behind it. In a batch every image has such a block, with a gap to the
next one; there a tensor that grew is laid out anew.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from anytimenet.core.segments import SegmentSpec, TensorSpec

_KEPT = 4
"""Sets of buffers that a pool keeps for the next runs."""


class Needs:
    """The states of a net, and how large each of their tensors becomes.

    Args:
        specs: of the segments that can be run. A stage from which none of them goes on has an empty state.

    Attributes:
        largest: the largest shape of the tensors of a name.
        dtypes: their number format.
    """

    def __init__(self, specs: Sequence[SegmentSpec]) -> None:
        self._states: dict[int, tuple[TensorSpec, ...]] = {spec.start: spec.reads for spec in specs}
        self.largest: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        for tensor in (each for spec in specs for each in (*spec.reads, *spec.changes)):
            self.dtypes[tensor.name] = tensor.dtype
            before = self.largest.get(tensor.name, tensor.shape)
            self.largest[tensor.name] = max(before, tensor.shape, key=prod)

    def state(self, stage: int) -> tuple[TensorSpec, ...]:
        """The tensors of the state at `stage`; none if nothing can follow."""
        return self._states.get(stage, ())


class Buffers:
    """The memory of one run: for each name room for the largest tensor of that name.

    Attributes:
        batch: examples.
        kept: what a backend has prepared for these buffers, by whatever it likes.
    """

    def __init__(self, needs: Needs, batch: int) -> None:
        self.batch = batch
        self.kept: dict[Any, Any] = {}
        self._needs = needs
        self._arrays: dict[str, np.ndarray] = {}

    def tensor(self, spec: TensorSpec) -> np.ndarray:
        """The tensor `(N, ...)`, contiguous, in its place."""
        shape = (self.batch, *spec.shape)
        return self._array(spec.name)[: prod(shape)].reshape(shape)

    def fill(self, spec: TensorSpec, values: np.ndarray) -> None:
        """Copies values into the tensor's place."""
        self.tensor(spec)[...] = values

    @property
    def nbytes(self) -> int:
        """Bytes that were allocated."""
        return sum(array.nbytes for array in self._arrays.values())

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            numbers = self.batch * prod(self._needs.largest[name])
            self._arrays[name] = np.empty(numbers, self._needs.dtypes[name])
        return self._arrays[name]


@dataclass(frozen=True, eq=False)
class Growth:
    """How one tensor of the new state comes to its place.

    Attributes:
        target: the array that the segment writes, contiguous.
        place: where that belongs, if it is somewhere else.
        old: what has to come before it, if that is not there already.
        before: where that belongs.
        late: whether `before` lies over what others still read.
    """

    target: np.ndarray
    place: np.ndarray | None = None
    old: np.ndarray | None = None
    before: np.ndarray | None = None
    late: bool = False


def grown(buffers: Buffers, segment: SegmentSpec, change: TensorSpec) -> Growth:
    """How a tensor that a segment gives comes into the buffers."""
    whole = buffers.tensor(change)
    reads = {spec.name: spec for spec in segment.reads}
    if change.continues is None:
        if change.name in reads:  # it would be written over while it is read
            return Growth(np.empty_like(whole), place=whole)
        return Growth(whole)
    start, axis = reads[change.continues], 0 if change.grows is None else change.grows
    finished, all_before = start.shape[axis], (slice(None),) * (axis + 1)
    before, behind = whole[*all_before, :finished], whole[*all_before, finished:]
    if buffers.batch > 1 or axis:  # what is new does not lie in one block
        target = np.empty(behind.shape, behind.dtype)
        return Growth(target, behind, buffers.tensor(start), before, change.name in reads)
    if change.continues == change.name:
        return Growth(behind)
    if change.name in reads:
        return Growth(np.empty_like(behind), behind, buffers.tensor(start), before, late=True)
    return Growth(behind, old=buffers.tensor(start), before=before)


def settle(growths: Sequence[Growth]) -> None:
    """Brings all tensors to their places after a segment has run."""
    olds = [one.old.copy() if one.old is not None and one.late else one.old for one in growths]
    for late in (False, True):
        for one, old in zip(growths, olds, strict=True):
            if one.before is not None and one.late == late:
                one.before[...] = old
            if one.place is not None and late:
                one.place[...] = one.target


class BufferPool:
    """Buffers for one image at a time, used again and again; those for batches are made for each run."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._free: list[Buffers] = []
        self._lock = threading.Lock()

    def take(self, batch: int) -> Buffers:
        """Buffers that nobody else has."""
        with self._lock:
            if batch == 1 and self._free:
                return self._free.pop()
        return Buffers(self._needs, batch)

    def give_back(self, buffers: Buffers) -> None:
        """They may be taken again."""
        with self._lock:
            if buffers.batch == 1 and len(self._free) < _KEPT:
                self._free.append(buffers)
