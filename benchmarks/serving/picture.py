"""The figure of a measurement: useful goodput of every server over the rate of requests.

python benchmarks/serving/picture.py RESULT.json OUT.png [NET]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from anytimenet.core.errors import require

RATES = ("0.5 full", "1.5 full", "0.5 C1", "0.8 C1", "1.5 C1")
_COLOURS = {"anytime": "#c2410c", "stage_1": "#475569", "full": "#94a3b8", "full_or_refuse": "#64748b"}
_OTHERS = ("#0f766e", "#1d4ed8", "#7c3aed", "#be185d", "#a16207", "#15803d", "#0369a1", "#6d28d9")


def draw(net: dict[str, Any], rows: list[dict[str, Any]], out: Path) -> None:
    """Our policies left, other servers right, on the same axes; rates as measured, in requests a second."""
    require("matplotlib", "train").use("Agg")
    plots = require("matplotlib.pyplot", "train")
    hz = {"full": net["full_hz"], "C1": net["first_hz"]}
    at = {rate: float(rate.split()[0]) * hz[rate.split()[1]] for rate in RATES}
    servers = list(dict.fromkeys(row["server"] for row in rows))
    titles = ["policies of this server"]
    if any(" " in server for server in servers):
        titles.append("other servers, best limit each")
    figure, grid = plots.subplots(
        1, len(titles), figsize=(1 + 4.5 * len(titles), 4), sharey=True, squeeze=False
    )
    axes = grid[0]
    other = iter(_OTHERS)
    for server in servers:
        found = sorted((at[row["rate"]], row["useful"]) for row in rows if row["server"] == server)
        panels = axes if server == "anytime" else [axes[1 if " " in server else 0]]
        colour = _COLOURS.get(server) or next(other)
        for panel in panels:
            width = 2.5 if server == "anytime" else 1.2
            panel.plot(
                *zip(*found, strict=True), "o-", color=colour, linewidth=width, markersize=3, label=server
            )
    for panel, title in zip(axes, titles, strict=True):
        panel.set(title=title, xlabel="requests a second", ylim=(0, 1))
        for name, rate in hz.items():
            panel.axvline(rate, color="#cbd5e1", linewidth=1, zorder=0)
            panel.text(rate, 0.97, f" {'full net' if name == 'full' else name}", fontsize=7, va="top")
        panel.legend(fontsize=7, loc="upper right", bbox_to_anchor=(1, 0.93))
    axes[0].set_ylabel("correct and in time, of all offered")
    figure.suptitle(f"{net['net']}, deadline {net['deadline_ms']:g} ms, one core", fontsize=10)
    figure.tight_layout()
    figure.savefig(out, dpi=120)


def main() -> None:
    """Draws one net of a result."""
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    wanted = sys.argv[3] if len(sys.argv) > 3 else result["nets"][0]["net"]
    net = next(one for one in result["nets"] if one["net"] == wanted)
    rows = [
        row for row in result["rows"] if row["what"].startswith(f"{wanted},") and row["shape"] == "poisson"
    ]
    draw(net, rows, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
