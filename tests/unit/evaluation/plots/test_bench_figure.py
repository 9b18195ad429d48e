"""The figure of two sweeps is a whole file, of one panel where there is one sweep."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from anytimenet.evaluation.plots.bench_figure import plot_bench


@dataclass(frozen=True)
class Batch:
    batch: int
    stage: int
    images_per_second: float


@dataclass(frozen=True)
class Deadline:
    deadline_ms: float
    late: float
    late_running: float | None
    mean_stage: float
    accuracy: float | None


BATCHES = [Batch(n, k, 100.0 * n / k) for n in (1, 4) for k in (1, 2)]
DEADLINES = [Deadline(1.0, 0.5, 0.1, 1.0, 0.7), Deadline(4.0, 0.0, 0.0, 2.0, 0.9)]


def text_of(path: Path) -> str:
    return path.read_text()


def test_both_panels_and_their_axes(tmp_path: Path) -> None:
    said = text_of(plot_bench(BATCHES, DEADLINES, tmp_path / "bench.svg", score="mean IoU"))
    for words in ("images a second", "batch size", "stage 2", "deadline (ms)", "validated mean IoU (%)"):
        assert words in said
    assert "late while it had the processor" in said


def test_what_is_not_known_is_not_drawn(tmp_path: Path) -> None:
    unknown = [Deadline(1.0, 0.5, None, 1.0, None), Deadline(4.0, 0.0, None, 2.0, None)]
    said = text_of(plot_bench(BATCHES, unknown, tmp_path / "bench.svg"))
    assert "mean stage" in said
    assert "validated" not in said
    assert "late while" not in said
    assert "deadline" not in text_of(plot_bench(BATCHES, [], tmp_path / "one.svg"))


def test_nothing_to_draw_and_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one batch size"):
        plot_bench([], DEADLINES, tmp_path / "bench.png")
    with pytest.raises(ValueError, match=r"no figure can end in '\.gif'"):
        plot_bench(BATCHES, DEADLINES, tmp_path / "bench.gif")
