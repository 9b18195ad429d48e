"""The figure of `evaluate`: the stages over a cost, beside what else was evaluated and a static net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from anytimenet.cli.compare import read_run, run_label
from anytimenet.evaluation import (
    BudgetedBatch,
    Curve,
    PlotOptions,
    Report,
    Spread,
    exit_costs,
    plot_curves,
    read_any_report,
)
from anytimenet.evaluation.protocols.budgeted_batch import ExitCost, cost_unit

Over = ExitCost | Literal["ms"]
Static = tuple[Report, str]
"""The report of a static net, and what it is called."""


def draw_evaluation(
    report: Report,
    costs: Sequence[Any],
    figure: Path,
    *,
    over: Over,
    budgeted: BudgetedBatch | None = None,
    static: Static | None = None,
) -> None:
    """Draws the stages, the ensemble, the budgeted batch and a static net, as far as they are there.

    Args:
        report: of the net.
        costs: of its stages.
        figure: a .png, .pdf or .svg file.
        over: milliseconds, or a cost of an exit.
        budgeted: of the net.
        static: the report of a static net, whose last stage is drawn, and its name.

    Raises:
        ValueError: if what is to be drawn has no such costs.
    """
    if over == "ms":
        items: list[Report | Curve] = [_over_ms(report, "anytime")]
    elif report.task != "classification":
        items = [report if static is None else report.curve("macs", "anytime")]
    else:
        items = _over_operations(report, costs, over)
    if budgeted is not None:
        items.append(budgeted.curve())
    if static is not None:
        items.append(_point(report, *static, over=over))
    plot_curves(items, figure, options=PlotOptions(width_in=4.6, height_in=3.2))


def read_baseline(path: Path, over: str) -> Static:
    """The report of a static net: of a report.json, a run or a bundle.

    Raises:
        ValueError: if there is none, or one a seed.
    """
    if path.suffix == ".json":
        return read_any_report(path), path.resolve().parent.name
    found = read_run(path, over)
    if isinstance(found, Spread):
        raise ValueError(f"--baseline {path} holds one run a seed: name one of them")
    return found, run_label(path)


def _over_operations(report: Report, costs: Sequence[Any], over: ExitCost) -> list[Report | Curve]:
    spent, unit = exit_costs(costs, over), cost_unit(over)
    items: list[Report | Curve] = [Curve.from_points(spent, report.values, "anytime", unit)]
    if report.ensemble is not None:
        tops = [stage.top1 for stage in report.ensemble.stages]
        items.append(Curve.from_points(spent, tops, f"{report.ensemble.kind} of stages 1..k", unit))
    return items


def _over_ms(report: Report, label: str) -> Curve:
    if report.latency_from is None:
        raise ValueError(
            "--over ms needs measured latencies: anytimenet profile BUNDLE on this machine first"
        )
    return report.curve("ms", label)


def _point(report: Report, static: Report, label: str, *, over: Over) -> Curve:
    """The static net as a curve of one point: its last stage."""
    if over == "ms" and static.latency_from != report.latency_from:
        raise ValueError(
            f"--over ms: {label} was not measured as this net was ({report.latency_from}): profile its "
            "bundle here with the same --backend, and evaluate it again"
        )
    unit = "ms" if over == "ms" else cost_unit(over)
    if unit == "msd":
        raise ValueError("a static net has no costs in MSDNet's convention: leave out --exit-cost msd")
    last = static.stages[-1]
    costs = {"ms": last.latency_median_ms, "full": last.full, "macs": last.macs}
    return Curve.from_points([costs[unit] or 0.0], static.values[-1:], label, unit, static.headline)
