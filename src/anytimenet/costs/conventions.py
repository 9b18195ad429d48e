"""The conventions in which cost is counted, and what a counting rule is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OperationCount:
    """Counted cost in three conventions, all with one multiply-add = 1.

    Attributes:
        macs: convolution and matrix weights times output positions; nothing else.
        full: `macs`, plus 1 per bias added by a linear layer, 1 per element into a normalisation or an
            activation, the kernel area per pooled output, and 1 per element of an addition such as the
            residual one. The public counter of I-ResNeXt, whose numbers the paper's axes show.
        msd: `macs`, plus linear biases, activations and pooling as above; normalisation, additions and
            concatenation are free. The public counter of MSDNet and its relatives, who publish costs
            summed over all earlier classifiers.

    >>> OperationCount(2, 3, 2) + OperationCount(1, 1, 1)
    OperationCount(macs=3, full=4, msd=3)
    """

    macs: int = 0
    full: int = 0
    msd: int = 0

    def __add__(self, other: OperationCount) -> OperationCount:
        return OperationCount(self.macs + other.macs, self.full + other.full, self.msd + other.msd)


Rule = Callable[[Sequence[Any], Any], OperationCount]
"""From an operator's positional arguments and its result to what it costs."""
