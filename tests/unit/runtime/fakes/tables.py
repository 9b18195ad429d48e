"""Cost tables for tests of the planner, from medians or drawn at random."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from anytimenet.core.manifest.cost_table import CostTable, Latency

SHAPE = (3, 8, 8)


def table_of(latencies: Mapping[tuple[int, int], Latency | float]) -> CostTable:
    """The table of these segments at batch 1; a number is a latency without spread."""
    entries = {
        (start, stop, 1): each if isinstance(each, Latency) else Latency(each, each, each, repeats=50)
        for (start, stop), each in latencies.items()
    }
    return CostTable("cpu", {"id": "0" * 8}, "float32", 1, SHAPE, entries)


def in_proportion(stages: int, step_ms: float = 1.0, overhead_ms: float = 0.2) -> CostTable:
    """A resumable net: a segment costs its steps and, once, an overhead; its tail is a tenth of that."""
    return table_of(
        {
            (a, b): spread(step_ms * (b - a) + overhead_ms)
            for a in range(stages)
            for b in range(a + 1, stages + 1)
        }
    )


def spread(median_ms: float, tail: float = 0.1) -> Latency:
    """A latency whose 99 % quantile is `tail` above the median."""
    return Latency(
        median_ms,
        median_ms * (1 + 0.6 * tail),
        median_ms * (1 + tail),
        repeats=50,
        low_ms=median_ms * (1 - 0.2 * tail),
    )


@st.composite
def latencies(draw: st.DrawFn) -> Latency:
    """Any latency, with a long tail or with none."""
    median = draw(st.floats(0.05, 20))
    p95 = median * draw(st.sampled_from((1.0, 1.01, 1.5)))
    p99 = p95 * draw(st.sampled_from((1.0, 1.02, 3.0)))
    low = draw(st.sampled_from((None, 0.6, 1.0)))
    return Latency(median, p95, p99, repeats=50, low_ms=None if low is None else low * median)


@st.composite
def tables(draw: st.DrawFn, most_stages: int = 6) -> CostTable:
    """A table of up to `most_stages` stages in which any segment but one to the last stage may be missing."""
    stages = draw(st.integers(1, most_stages))
    pairs = [(a, b) for a in range(stages) for b in range(a + 1, stages + 1)]
    kept = [pair for pair in pairs if pair == (0, stages) or draw(st.integers(0, 3))]
    return table_of({pair: draw(latencies()) for pair in kept})


def scores(stages: int) -> st.SearchStrategy[list[float | None]]:
    """Validated scores as so many images give them, not always rising, often equal, some of them missing."""
    of_images = st.integers(0, 10_000).map(lambda right: right / 10_000)
    score = st.one_of(of_images, st.sampled_from((0.5, 0.9)), st.none())
    return st.lists(score, min_size=stages, max_size=stages)
