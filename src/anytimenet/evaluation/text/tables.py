"""Tables for people: plain aligned text and `rich`, from the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anytimenet.core.uncounted import MARK
from anytimenet.evaluation.text.units import format_count

if TYPE_CHECKING:
    from rich.table import Table

    from anytimenet.evaluation.reports.report import Report, StageReport

Column = tuple[str, list[str]]
"""A header and one cell a line."""


def report_columns(report: Report) -> list[Column]:
    """Stage, multiply-adds, parameters, accuracy with its interval, coarser levels, latency if profiled."""
    stages = report.stages
    decimals = percent_decimals(report.count)
    columns = [
        ("stage", [str(stage.stage) for stage in stages]),
        ("multiply-adds", [counted(stage.macs, report.uncounted_operators) for stage in stages]),
        ("parameters", [format_count(stage.params) for stage in stages]),
        ("accuracy %", [f"{100 * stage.top1:.{decimals}f}" for stage in stages]),
        ("95 % interval", [_interval(stage, decimals) for stage in stages]),
    ]
    for level in report.levels:
        columns.append(
            (f"level {level.level} %", [f"{100 * stage.top1:.{decimals}f}" for stage in level.stages])
        )
    for header, name in (("median ms", "latency_median_ms"), ("p99 ms", "latency_p99_ms")):
        if any(getattr(stage, name) is not None for stage in stages):
            columns.append((header, [_milliseconds(stage, name) for stage in stages]))
    return columns


def counted(macs: int, uncounted: Sequence[str]) -> str:
    """A number of multiply-adds for people, with a mark where some operators are not in it.

    >>> counted(84_800, ()), counted(84_800, ("aten.fft_rfft2",))
    ('84.80 k', '84.80 k+')
    """
    return format_count(macs) + MARK * bool(uncounted)


def plain_table(columns: Sequence[Column]) -> str:
    """Right-aligned text, two spaces between columns, without a final newline.

    >>> print(plain_table([("stage", ["1", "2"]), ("accuracy %", ["97.4", "98.9"])]))
    stage  accuracy %
        1        97.4
        2        98.9
    """
    widths = [max(len(cell) for cell in (header, *cells)) for header, cells in columns]
    lines = zip(*((header, *cells) for header, cells in columns), strict=True)
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def rich_table(columns: Sequence[Column], title: str = "") -> Table:
    """The same for a `rich` console."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for header, _ in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for line in zip(*(cells for _, cells in columns), strict=True):
        # Text, not markup: an interval such as [95.8, 98.6] is no tag.
        table.add_row(*(Text(cell) for cell in line))
    return table


def percent_decimals(count: int) -> int:
    """Decimals of a percentage that `count` examples can tell apart: 1 up to 1,000 examples, then 2."""
    return 1 if count <= 1000 else 2


def _interval(stage: StageReport, decimals: int) -> str:
    return f"[{100 * stage.top1_low:.{decimals}f}, {100 * stage.top1_high:.{decimals}f}]"


def _milliseconds(stage: StageReport, name: str) -> str:
    value = getattr(stage, name)
    if value is None:
        return "-"
    return f"{'~' if stage.latency_estimated else ''}{value:.2f}"
