"""Which share of every batch a process reads."""

from __future__ import annotations

from dataclasses import dataclass

from anytimenet.core.errors import DataError


@dataclass(frozen=True)
class Shard:
    """The share of one of several processes: the `rank`-th contiguous part of every batch.

    Shares of a batch do not overlap and lose nothing: rank r of n reads the places `N r // n` to
    `N (r + 1) // n` of a batch of N. They are equal where n divides N.

    Attributes:
        rank: which process this is, from 0.
        count: how many processes there are.

    Raises:
        DataError: unless 0 <= rank < count.

    >>> [Shard(rank, 3).of(7) for rank in range(3)]
    [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
    """

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.rank < self.count:
            raise DataError(
                f"there is no share {self.rank} of {self.count}: ranks count from 0 and are below the count"
            )

    def of(self, size: int) -> slice:
        """The places of a batch of `size` that this process reads."""
        return slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)

    def check(self, batch_size: int, *, drop_last: bool) -> None:
        """Raises DataError where processes that train together would read unequal shares.

        Without `drop_last` (evaluation) the last batch is uneven anyway, and shares may be.
        """
        if drop_last and batch_size % self.count:
            raise DataError(
                f"a batch of {batch_size} cannot be shared evenly by {self.count} processes: "
                f"take a batch size that is a multiple of {self.count}"
            )


WHOLE = Shard()
"""What a process that is alone reads."""
