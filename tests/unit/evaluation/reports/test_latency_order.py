"""Milliseconds against multiply-adds: who is named, and who is not."""

import pytest

from anytimenet.evaluation import order_note, ranked_otherwise
from anytimenet.evaluation.reports.stages import StageReport


def stages(*times: float | None, estimated: int = 0) -> list[StageReport]:
    """Stage k costs 10 k multiply-adds; the last `estimated` latencies were not measured."""
    first = len(times) - estimated
    return [
        StageReport(k, 10 * k, 12 * k, k, {}, latency_median_ms=ms, latency_estimated=k > first)
        for k, ms in enumerate(times, 1)
    ]


@pytest.mark.parametrize(
    ("times", "pairs"),
    [
        ((1.0, 2.0, 3.0), []),
        ((1.0, 3.0, 2.0), [(2, 3)]),
        ((4.0, 3.0, 2.0), [(1, 2), (1, 3), (2, 3)]),
        ((1.0, 2.08, 2.0), []),  # within the margin
        ((1.0, 2.2, 2.0), [(2, 3)]),
        ((3.0, None, 2.0), [(1, 3)]),
        ((None, None), []),
    ],
)
def test_pairs_that_milliseconds_rank_otherwise(
    times: tuple[float, ...], pairs: list[tuple[int, int]]
) -> None:
    assert ranked_otherwise(stages(*times)) == pairs


def test_an_estimate_ranks_nothing_and_the_margin_can_be_named() -> None:
    assert ranked_otherwise(stages(3.0, 2.0, estimated=1)) == []
    assert ranked_otherwise(stages(2.08, 2.0), margin=0.01) == [(1, 2)]


def test_equal_multiply_adds_rank_nothing() -> None:
    one, other = stages(3.0, 2.0)
    assert ranked_otherwise([one, StageReport(2, 10, 12, 2, {}, latency_median_ms=2.0)]) == []
    assert ranked_otherwise([other, one]) == [(1, 2)]  # whatever their order


def test_the_note_names_three_pairs_and_counts_the_rest() -> None:
    note = order_note(stages(4.0, 3.0, 2.0, 1.0))
    assert "stage 1 takes 4.00 ms and stage 2 3.00 ms" in note
    assert "and 3 pairs more" in note
    assert order_note(stages(1.0, 2.0)) == ""
