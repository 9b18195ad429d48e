"""What it costs to let examples leave a batch, by a cost table; and which way is the cheapest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

from anytimenet.core import checks
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime.paths import SegmentPath

LeavingMode = Literal["results", "compact", "regroup"]

LEAVING_MODES: tuple[LeavingMode, ...] = get_args(LeavingMode)
"""`results`: answers are given early, and the work goes on for all. `compact`: the rows of examples that left
are dropped at once. `regroup`: rows that go on are gathered over batches until a batch is full again."""

COPY_MS_PER_MIB = 0.5
"""Milliseconds to copy a MiB of state once; `benchmarks/runtime/leaving.py` measures it."""


@dataclass(frozen=True)
class LeavingCosts:
    """Expected cost of the modes, by a cost table.

    Attributes:
        table: median latencies of the segments at several batch sizes, and bytes of the states. Without those
            bytes moving rows costs nothing here.
        path: the segments of a run.
        copy_ms_per_mib: to copy a MiB of state once. `compact` copies rows once, `regroup` four times: out of
            the batch, out of the backend, beside the others, and in again.

    Raises:
        CostTableError: when asked for a segment or a batch size that the table does not know.
    """

    table: CostTable
    path: SegmentPath
    copy_ms_per_mib: float = COPY_MS_PER_MIB

    def __post_init__(self) -> None:
        checks.instance(self.table, CostTable, "table", "bundle.cost_tables[key]")
        checks.settle(self, "copy_ms_per_mib", checks.number, 0)

    @classmethod
    def if_known(cls, table: CostTable, path: SegmentPath, batch: int) -> LeavingCosts | None:
        """The costs by a table that knows all segments of a path in batches of 1 to `batch`; else None."""
        known = table.entries.keys()
        sizes = {segment: [n for a, z, n in known if (a, z) == segment] for segment in path}
        whole = all(found and min(found) == 1 and max(found) >= batch for found in sizes.values())
        return cls(table, path) if whole else None

    def run_ms(self, place: int, rows: float) -> float:
        """Of segment `place` of the path for so many rows; a batch has one row at least."""
        start, stop = self.path[place]
        return self.table.latency(start, stop, max(1, math.ceil(rows - 1e-9))).median_ms

    def move_ms(self, place: int, rows: float, copies: int = 1) -> float:
        """To copy the state of so many rows after segment `place`; none before a new start from the input."""
        state_bytes = self.table.state_bytes
        if not state_bytes or (place + 1 < len(self.path) and self.path[place + 1][0] == 0):
            return 0.0
        return copies * self.copy_ms_per_mib * rows * state_bytes[self.path[place][1] - 1] / 2**20

    def worth_dropping(self, place: int, rows: int, stay: int) -> bool:
        """Whether dropping all rows but `stay` after segment `place` pays for itself until the path ends.

        Nothing is reckoned to leave later: examples that do make the work that was saved smaller for both.
        """
        saved = sum(
            self.run_ms(later, rows) - self.run_ms(later, stay) for later in range(place + 1, len(self.path))
        )
        return saved > self.move_ms(place, stay)

    def expected_ms(self, shares: Sequence[float], batch: int) -> Mapping[LeavingMode, float]:
        """Milliseconds a batch that each mode takes, where `shares` of its examples leave after each segment.

        Of many batches, for `regroup` is no good to one alone. `results` and `compact` end once the expected
        number of examples that are left is below a half.

        Args:
            shares: one a segment of the path, summing to 1.
            batch: examples of a full batch.

        Raises:
            ValueError: for shares that are not one a segment, or do not sum to 1.
        """
        shares = checks.numbers(shares, "shares", 0, 1)
        batch = checks.whole_number(batch, "batch", 1)
        if len(shares) != len(self.path) or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"shares {shares} are not one a segment of {list(self.path)}, summing to 1")
        before = [1.0, *(max(0.0, 1 - gone) for gone in accumulate(shares[:-1]))]
        found = dict.fromkeys(get_args(LeavingMode), 0.0)
        for place, share in enumerate(before):
            rows = share * batch
            moves = place > 0 and shares[place - 1] > 0
            full = self.run_ms(place, batch)
            found["regroup"] += share * full + moves * self.move_ms(place - 1, rows, copies=4)
            if rows >= 0.5:
                found["results"] += full
                found["compact"] += self.run_ms(place, rows) + moves * self.move_ms(place - 1, rows)
        return found

    def cheapest(self, shares: Sequence[float], batch: int) -> LeavingMode:
        """The mode of the least expected milliseconds; of equal ones the simplest.

        Raises:
            ValueError: as `expected_ms` does.
        """
        expected = self.expected_ms(shares, batch)
        return min(expected, key=expected.__getitem__)
