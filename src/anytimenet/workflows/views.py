"""Training images as they are, and then changed: what heads that learn alone see of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from anytimenet.training import Batches


@dataclass(frozen=True)
class Views:
    """Epoch 0 is the images as validation reads them, later epochs are augmented; neither is mixed.

    Attributes:
        plain: the images.
        augmented: the same, as training changes them.
    """

    plain: Batches
    augmented: Batches

    def __len__(self) -> int:
        return len(self.plain)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        """The batches of view `number`, from batch `start` on."""
        return (self.augmented if number else self.plain).epoch(number, start)
