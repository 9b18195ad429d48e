"""What the loop reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor


class Batches(Protocol):
    """Batches of an epoch, or one process's share of every batch; `data.Loader` is one."""

    def __len__(self) -> int:
        """Batches in an epoch; the same for all processes that train together."""

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        """The batches of an epoch from `start` on; a pure function of its arguments."""
