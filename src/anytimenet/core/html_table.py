"""A small table for notebooks, from the columns that also make the plain one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def html_table(columns: Sequence[tuple[str, Sequence[str]]], caption: str = "") -> str:
    """HTML of a table with a row of headers, every text escaped: class names may hold anything.

    >>> html_table([("stage", ["1"]), ("class", ["<b>"])])
    '<table><tr><th>stage</th><th>class</th></tr><tr><td>1</td><td>&lt;b&gt;</td></tr></table>'
    """
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in columns)
    lines = zip(*(cells for _, cells in columns), strict=True)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{told}<tr>{head}</tr>{rows}</table>"
