"""Useful goodput over load by policy, on the simulator's clock; with a file, the figure of the docs.

python benchmarks/run.py serving/policies
python benchmarks/serving/policies.py docs/pictures/serving_policies.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.serving.scheduling.policies.known import known_policies
from anytimenet.serving.simulation.load import LOADS
from anytimenet.serving.simulation.report import Report
from anytimenet.serving.simulation.simulator import Site, simulate

NAME = "serving-policies"
MACS = (19.0, 28.4, 39.3, 60.8, 105.6)
ACCURACY = (0.476, 0.592, 0.703, 0.792, 0.832)
"""`efficientnet_lite0` at 112 pixels, regime `mixed`: reproductions/regimes/README.md."""
MACS_A_MS = 10.0
DEADLINE = 5.0
"""Times the full network's latency."""
NAMED = {"0.5 full": 0.5, "1.5 full": 1.5, "0.5 C1": 0.5, "0.8 C1": 0.8, "1.5 C1": 1.5}
REQUESTS_A_ROUND = 1000


def measure(rounds: int) -> dict[str, Any]:
    """At the five rates by which policies are judged, of one worker and of four, and in bursts."""
    rows = []
    for load, workers in (("poisson", 1), ("poisson", 4), ("bursts", 1)):
        for name, share in NAMED.items():
            rate = share * workers * 1000 / _milliseconds()[-1 if name.endswith("full") else 0]
            found = {each: _served(each, rate, load, workers, rounds) for each in known_policies()}
            rows.append(
                {
                    "load": load,
                    "workers": workers,
                    "rate": name,
                    **{policy: round(report.useful_goodput, 3) for policy, report in found.items()},
                    "in time": round(found["anytime"].in_time, 4),
                    "accuracy": round(found["anytime"].accuracy, 4),
                    "full net": ACCURACY[-1],
                }
            )
    return {"accuracy": ACCURACY, "million multiply-adds": MACS, "rows": rows}


def draw(path: Path) -> None:
    """Useful goodput, and the share answered in time, over the load in units of stage 1's saturation."""
    from matplotlib.figure import Figure

    loads = np.array((0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5))
    figure = Figure(figsize=(9.6, 3.7), layout="constrained")
    right, timely = figure.subplots(1, 2)
    for policy, style in _STYLES.items():
        found = [_served(policy, load * 1000 / _milliseconds()[0], "poisson", 1, 3) for load in loads]
        right.plot(loads, [report.useful_goodput for report in found], **style, label=_NAMES[policy])
        timely.plot(loads, [report.in_time for report in found], **style)
    full = _milliseconds()[0] / _milliseconds()[-1]
    for axes, title in ((right, "answered right and in time"), (timely, "answered in time")):
        axes.set_title(title + ", of all requests", fontsize=10, loc="left")
        axes.set_xlabel("requests offered / what always stage 1 could serve")
        axes.axvline(full, color="0.7", linewidth=0.8, zorder=0)
        axes.set_ylim(0, 1.03)
        axes.spines[["top", "right"]].set_visible(False)
    right.text(full, 0.05, "full net saturated ", fontsize=8, color="0.4", rotation=90, ha="right")
    right.legend(frameon=False, fontsize=8, loc="upper right")
    figure.savefig(path, dpi=150)


def _served(policy: str, rate: float, load: str, workers: int, rounds: int) -> Report:
    times = LOADS[load](rate, rounds * REQUESTS_A_ROUND / rate, 1)
    site = Site(_table(), ACCURACY, policy=policy, workers=workers)
    return simulate(site, times, DEADLINE * _milliseconds()[-1] / 1000)


def _milliseconds() -> Sequence[float]:
    return [macs / MACS_A_MS for macs in MACS]


def _table() -> CostTable:
    ends = (0.0, *_milliseconds())

    def latency(milliseconds: float) -> Latency:
        return Latency(milliseconds, 1.05 * milliseconds, 1.1 * milliseconds, repeats=50)

    entries = {(a, b, 1): latency(ends[b] - ends[a]) for a in range(5) for b in range(a + 1, 6)}
    return CostTable("cpu", {"id": "0" * 8}, "float32", 1, (3, 112, 112), entries)


_NAMES = {
    "anytime": "anytime (accuracy scaling)",
    "slackfit": "SlackFit",
    "edgeserving": "EdgeServing's rule",
    "stage_1": "always stage 1",
    "full_or_refuse": "full net, refusing",
    "full": "full net",
}
_STYLES: dict[str, dict[str, Any]] = {
    "anytime": {"color": "#0b6e4f", "linewidth": 2.4, "marker": "o", "markersize": 4, "zorder": 5},
    "slackfit": {"color": "#c8553d", "linewidth": 1.4, "marker": "s", "markersize": 3},
    "edgeserving": {"color": "#588157", "linewidth": 1.4, "linestyle": "--"},
    "stage_1": {"color": "#7b6d8d", "linewidth": 1.4, "linestyle": ":"},
    "full_or_refuse": {"color": "#3a6ea5", "linewidth": 1.4, "marker": "^", "markersize": 3},
    "full": {"color": "#8d99ae", "linewidth": 1.4},
}

if __name__ == "__main__":
    draw(Path(sys.argv[1]))
