"""The interface of exit policies: which examples of a batch are answered well enough to leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

import numpy as np

from anytimenet.runtime.backends.backend import Output


class Memory(Protocol):
    """What a policy keeps of the examples between stages; it belongs to one run and is never changed."""

    def rows(self, index: Sequence[int] | np.ndarray) -> Self:
        """That of these examples, in this order, after the others left the batch."""


@runtime_checkable
class ExitPolicy(Protocol):
    """When an example needs no further stage.

    A run calls `begin` once and `leaves` after each stage that answered, whichever stages its path visits.
    When examples leave the batch, `memory.rows` keeps the memory of the others. A policy holds no state of a
    run itself, so that one object serves many runs and threads.

    >>> class Surprised:
    ...     "Leaves once the largest logit is above 3: a policy needs no base class."
    ...     num_stages = None
    ...     def begin(self, batch):
    ...         return NOTHING
    ...     def leaves(self, stage, output, memory):
    ...         return output[0].max(axis=1) > 3, memory
    >>> policy = Surprised()
    >>> policy.leaves(1, (np.array([[0.0, 4.0], [1.0, 2.0]]),), policy.begin(2))[0].tolist()
    [True, False]
    """

    @property
    def num_stages(self) -> int | None:
        """K of the net that it was solved for, whose last stage answers whoever is left; None for any net."""

    def begin(self, batch: int) -> Memory:
        """The memory of `batch` examples before stage 1."""

    def leaves(self, stage: int, output: Output, memory: Memory) -> tuple[np.ndarray, Memory]:
        """Whether each example may leave with this answer, bool `(N,)`, and the memory after it.

        Args:
            stage: that gave the output, counted from 1.
            output: the logits of the N examples that are still in the batch.
            memory: what `begin` or the call before gave, of the same examples.
        """


class _Nothing:
    """The memory of a policy that looks at one output at a time."""

    def rows(self, index: Sequence[int] | np.ndarray) -> _Nothing:
        """Of some examples: the same."""
        return self


NOTHING = _Nothing()
"""What a policy remembers that looks at one output at a time."""

_BOOL = np.dtype(bool)  # numpy has one of it: `is` takes no time, for this is asked at every step


def asked(policy: ExitPolicy, stage: int, output: Output, memory: Memory) -> tuple[np.ndarray, Memory]:
    """What a policy says, if it is what `ExitPolicy.leaves` promises.

    Raises:
        TypeError: for anything but a bool an example: zeros, taken for places, would let the first one go.
    """
    leaves, memory = policy.leaves(stage, output, memory)
    count = len(output[0])
    if not isinstance(leaves, np.ndarray) or leaves.dtype is not _BOOL or leaves.shape != (count,):
        what = f"{leaves.dtype} {leaves.shape}" if isinstance(leaves, np.ndarray) else type(leaves).__name__
        raise TypeError(
            f"{type(policy).__name__}.leaves must return a bool array ({count},), one an example, not {what}"
        )
    return leaves, memory
