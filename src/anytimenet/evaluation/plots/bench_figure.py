"""The figure of `bench`: throughput over batch sizes, and what single images get under deadlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from anytimenet.core.errors import require
from anytimenet.core.files.writing import write_bytes
from anytimenet.evaluation.plots.axes import COLOURS, MARKERS
from anytimenet.evaluation.plots.plots import check_ending, figure_bytes, paper_style
from anytimenet.evaluation.plots.ticks import log_ticks, score_limits, tick_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class OnBatch(Protocol):
    """What is drawn of a sub-network on one batch size."""

    @property
    def batch(self) -> int: ...
    @property
    def stage(self) -> int: ...
    @property
    def images_per_second(self) -> float: ...


class UnderDeadline(Protocol):
    """What is drawn of a deadline."""

    @property
    def deadline_ms(self) -> float: ...
    @property
    def late(self) -> float: ...
    @property
    def late_running(self) -> float | None: ...
    @property
    def mean_stage(self) -> float: ...
    @property
    def accuracy(self) -> float | None: ...


def plot_bench(
    batches: Sequence[OnBatch],
    deadlines: Sequence[UnderDeadline],
    path: Path | str,
    *,
    score: str = "accuracy",
    dpi: int = 200,
) -> Path:
    """Draws both sweeps side by side; the second alone is left out where there is none.

    Args:
        batches: one entry a batch size and stage.
        deadlines: one entry a deadline.
        path: a .png, .pdf or .svg file.
        score: what was validated; where that is not known the mean stage is drawn.
        dpi: dots per inch of a PNG.

    Raises:
        ValueError: for another ending, or nothing to draw.
        MissingExtraError: without matplotlib.
    """
    path = Path(path)
    check_ending(path.suffix)
    if not batches:
        raise ValueError("nothing to draw: at least one batch size is needed")
    figure_class = require("matplotlib.figure", "train").Figure
    panels = 1 + bool(deadlines)
    with paper_style():
        figure: Figure = figure_class((3.4 * panels, 2.7), layout="constrained")
        _throughput(figure.add_subplot(1, panels, 1), batches)
        if deadlines:
            _deadlines(figure.add_subplot(1, panels, 2), deadlines, score)
        write_bytes(path, figure_bytes(figure, path.suffix, dpi))
    return path


def _throughput(axes: Axes, batches: Sequence[OnBatch]) -> None:
    """Images a second of each sub-network against the batch size."""
    for number, stage in enumerate(sorted({point.stage for point in batches})):
        points = sorted((p.batch, p.images_per_second) for p in batches if p.stage == stage)
        axes.plot(
            [batch for batch, _ in points],
            [rate for _, rate in points],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=3.6,
            linewidth=1.3,
            label=f"stage {stage}",
        )
    sizes = sorted({point.batch for point in batches})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch size")
    axes.set_ylabel("images a second")
    axes.legend(frameon=False)
    _plain(axes)


def _deadlines(axes: Axes, deadlines: Sequence[UnderDeadline], score: str) -> None:
    """The score of the answers and the share of late ones against the deadline."""
    points = sorted(deadlines, key=lambda point: point.deadline_ms)
    times = [point.deadline_ms for point in points]
    known = all(point.accuracy is not None for point in points)
    values = [100 * (point.accuracy or 0.0) if known else point.mean_stage for point in points]
    axes.plot(times, values, color=COLOURS[0], marker=MARKERS[0], markersize=3.6, linewidth=1.3)
    axes.set_xlabel("deadline (ms)")
    axes.set_ylabel(f"validated {score} (%)" if known else "mean stage", color=COLOURS[0])
    bottom, top, ticks = score_limits(min(values), max(values), percent=known)
    axes.set_ylim(bottom, top)
    axes.set_yticks(ticks, tick_labels(ticks))
    other = axes.twinx()
    late = [100 * point.late for point in points]
    style: dict[str, Any] = {"color": COLOURS[1], "marker": MARKERS[1], "markersize": 3.6, "linewidth": 1.3}
    other.plot(times, late, label="late", **style)
    running = [point.late_running for point in points]
    if all(share is not None for share in running):
        own = [100 * (share or 0.0) for share in running]
        other.plot(times, own, label="late while it had the processor", linestyle=":", **style)
        other.legend(frameon=False)
    other.set_ylabel("late (%)", color=COLOURS[1])
    other.set_ylim(0, max(5.0, 1.1 * max(late)))
    for each in (axes, other):
        each.set_xscale("log")
        ticks = log_ticks(times[0] / 1.05, times[-1] * 1.05)
        each.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        each.set_xticks([], minor=True)
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.spines["top"].set_visible(False)
    other.spines["top"].set_visible(False)


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
