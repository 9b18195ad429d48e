"""Tables for people: plain aligned text and `rich`, from the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anytimenet.core.scores import ScoreSpec
from anytimenet.core.uncounted import MARK
from anytimenet.evaluation.text.units import format_count

if TYPE_CHECKING:
    from rich.table import Table

Column = tuple[str, list[str]]
"""A header and one cell a line."""


def score_columns(
    specs: Sequence[ScoreSpec], scores: Sequence[Mapping[str, Any]], decimals: int
) -> list[Column]:
    """A column a score that belongs into a table, with its interval where it has one.

    Args:
        specs: of the scores.
        scores: of each line, by key.
        decimals: of a score with an interval, which is a share of examples; others have one.

    >>> score_columns([ScoreSpec("top1", "accuracy")], [{"top1": 0.974}], 2)
    [('accuracy %', ['97.4'])]
    """
    columns: list[Column] = []
    for spec in (spec for spec in specs if spec.in_table):
        places = decimals if spec.interval else 1
        columns.append(
            (
                spec.title,
                ["-" if row.get(spec.key) is None else spec.shown(row[spec.key], places) for row in scores],
            )
        )
        if spec.interval:
            columns.append(("95 % interval", [_interval(spec, row, places) for row in scores]))
    return columns


def _interval(spec: ScoreSpec, scores: Mapping[str, Any], places: int) -> str:
    ends = [scores.get(key) for key in spec.keys[1:]]
    return (
        "-" if None in ends else f"[{', '.join(spec.shown(end, places) for end in ends if end is not None)}]"
    )


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
