"""A cost table for people."""

from __future__ import annotations

from anytimenet.core.manifest.cost_table import CostTable


def table_text(table: CostTable) -> str:
    """A line a segment and batch size, then what the table knows beside them.

    >>> from anytimenet.core.manifest.latency import Latency
    >>> entries = {(0, 1, 1): Latency(2.0, 3.0, 4.0, repeats=0, estimated=True)}
    >>> print(table_text(CostTable("cpu", {"id": "x"}, "float32", 1, (3, 8, 8), entries, state_bytes=(0,))))
    cpu, eager, float32, 1 thread(s)
    segment  batch  median ms  lowest tenth  p95 ms  p99 ms
    (0, 1)       1      2.000             -   3.000   4.000  estimated
    state of one image after stage 1, 2, ...: 0.0 KiB
    """
    lines = [
        f"{table.device}, {table.backend}, {table.dtype}, {table.threads} thread(s)",
        "segment  batch  median ms  lowest tenth  p95 ms  p99 ms",
    ]
    for (start, stop, batch), latency in sorted(table.entries.items()):
        low = "-" if latency.low_ms is None else f"{latency.low_ms:.3f}"
        times = f"{latency.median_ms:9.3f}  {low:>12}  {latency.p95_ms:6.3f}  {latency.p99_ms:6.3f}"
        note = "  estimated" if latency.estimated else "  unstable" if latency.unstable else ""
        lines.append(f"({start}, {stop})  {batch:6}  {times}{note}")
    for name, time in (("decode", table.decode), ("preprocess", table.preprocess)):
        if time is not None:
            lines.append(f"{name} an image: {time.median_ms:.3f} ms, 99 % within {time.p99_ms:.3f} ms")
    if table.state_bytes:
        sizes = ", ".join(f"{size / 1024:.1f}" for size in table.state_bytes)
        lines.append(f"state of one image after stage 1, 2, ...: {sizes} KiB")
    if any(latency.unstable for latency in table.entries.values()):
        lines.append("unstable: the machine was busy; measure again when it is quiet, or for longer.")
    return "\n".join(lines)
