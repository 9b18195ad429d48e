"""What many runs say together: means over seeds, the best limit of each peer, tables for documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def table(net: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a server, shape and rate: means over seeds that count, peers with their best limit."""
    rows = []
    groups: dict[tuple[str, str, str], dict[Any, list[dict[str, Any]]]] = {}
    for cell in net["cells"]:
        if cell["counts"]:
            key = cell["server"], cell["shape"], cell["rate"]
            groups.setdefault(key, {}).setdefault(cell["limit"], []).append(cell)
    for (server, shape, rate), limits in groups.items():
        best = max(limits, key=lambda limit: np.mean([cell["useful"] for cell in limits[limit]]))
        chosen = limits[best]
        keys = ("useful", "in_time", "accuracy", "refused", "late", "failed", "p50_ms", "p99_ms", "beside_ms")
        means = {key: _mean([cell.get(key) for cell in chosen]) for key in keys}
        what = f"{net['net']}, {server}, {shape} {rate}"
        head = {"what": what, "server": server, "shape": shape, "rate": rate, "limit": best}
        rows.append({**head, **means, "seeds": len(chosen)})
    return rows


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def tables_of(result: dict[str, Any], order: Sequence[str]) -> str:
    """Markdown: for each net and shape a table of servers over rates, useful (in time), in percent."""
    machine = result["machine"]
    instructions = ", ".join(machine.get("instructions", ()))
    said = [
        f"Measured at commit {result['commit']}, {result['measured'][:10]}, on {machine['cpu']} "
        f"({machine['cores']} cores; {instructions}). Server: {result['server']}; generator: "
        f"{result['generator']}.",
    ]
    for net in result["nets"]:
        said.append(_head_of(net))
        rows = table(net)
        for shape in dict.fromkeys(row["shape"] for row in rows):
            said.append(
                f"{shape.capitalize()}:\n\n" + _table([row for row in rows if row["shape"] == shape], order)
            )
    return "\n\n".join(said)


def _head_of(net: dict[str, Any]) -> str:
    stages = ", ".join(f"{100 * each:.0f}" for each in net["stage_accuracy"])
    own = ", ".join(f"{each:.2f}" for each in net["own_ms"])
    text = (
        f"### {net['net']}\nDeadline {net['deadline_ms']:g} ms. Stages right on {stages} % of the images, "
        f"after {own} ms; an image takes {net['prepare_ms']:.2f} ms. The full network saturates the server "
        f"at {net['full_hz']:.0f} requests a second, stage 1 alone (C1) at {net['first_hz']:.0f}. One client "
        f"after the other waits {net['full_alone_ms']:.2f} ms for the full network."
    )
    if "overhead_ms" in net:
        text += f" Beside segments and image a request takes {net['overhead_ms']:.2f} ms (median)"
        text += ", of those that come one at a time, with pauses."
    half = [
        row
        for row in table(net)
        if (row["server"], row["shape"], row["rate"]) == ("anytime", "poisson", "0.5 full")
    ]
    if half and half[0]["beside_ms"] is not None:
        beside = half[0]["beside_ms"] - net["prepare_ms"]
        text += f" At 0.5 full it takes {beside:.2f} ms beside those and the queue."
    return text


def _table(rows: list[dict[str, Any]], order: Sequence[str]) -> str:
    rates = [rate for rate in order if any(row["rate"] == rate for row in rows)]
    found = {(row["server"], row["rate"]): row for row in rows}
    lines = [
        "| server | " + " | ".join(rates) + " |",
        "|---|" + "--:|" * len(rates),
    ]
    for server in dict.fromkeys(row["server"] for row in rows):
        cells = [_cell(found.get((server, rate))) for rate in rates]
        name = f"`{server}`" if " " not in server else server
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{100 * row['useful']:.1f} ({100 * row['in_time']:.1f})"


def put_between(path: Path, text: str) -> None:
    """Replaces what stands between the two marks in a document.

    Raises:
        ValueError: if the marks are not there.
    """
    whole = path.read_text(encoding="utf-8")
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for tables: {BEGIN} and {END} are needed")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
