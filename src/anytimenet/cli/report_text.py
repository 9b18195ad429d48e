"""What `evaluate` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anytimenet.evaluation.reports.latency_order import order_note
from anytimenet.evaluation.text.units import format_count

if TYPE_CHECKING:
    from anytimenet.core.scores import ScoreSpec
    from anytimenet.evaluation import BudgetedBatch, ChosenLevels, Report, StaticBaseline
    from anytimenet.evaluation.scores.metrics import ClassScore


def print_report(report: Report, *, per_class: bool) -> None:
    """The table of the stages and what else the report says, for people."""
    if report.task == "segmentation":
        print(f"{evaluated_images(report)}, {report.pixels} pixels that count")
        print(report.table())
        _print_latency(report)
        if per_class:
            print(f"intersection over union in % of each class:\n{report.class_table()}")
        return
    print(evaluated_images(report))
    print(report.table())
    _print_latency(report)
    if report.task != "classification":
        return
    print(
        f"area under the curve {report.area:.4f} (log budget {report.area_log:.4f}), "
        f"{100 * report.example_violations:.1f} % of the images are right at a stage and wrong later"
    )
    known = [f"{s.failure_auroc:.2f}" if s.failure_auroc is not None else "-" for s in report.stages]
    print(f"low confidence tells wrong answers with AUROC {' '.join(known)}")
    if report.ensemble is not None:
        print(
            f"stages 1..k combined ({report.ensemble.kind}), "
            f"{100 * report.ensemble.example_violations:.1f} % right at a stage and wrong later"
        )
        print(report.ensemble.table())
    if report.per_class:
        print(f"stage {report.stages[-1].stage}, by class:")
        print(class_table(report.per_class[-1]))


def _print_latency(report: Report) -> None:
    """Where milliseconds come from, and where they and multiply-adds disagree."""
    if report.latency_from is not None:
        print(f"milliseconds from the cost table {report.latency_from}")
    if note := order_note(report.stages):
        print(note)


def print_beside(beside: StaticBaseline, score: ScoreSpec) -> None:
    """What a static net costs, and the stage that is as good, for people."""
    ms = "" if beside.latency_median_ms is None else f", {beside.latency_median_ms:.2f} ms"
    cost = f"{format_count(beside.macs)}{ms}"
    print(f"static net {beside.label}: {score.shown(beside.value)} {score.unit} at {cost}")
    if beside.stage is None:
        best = score.shown(beside.stage_value)
        print(f"no stage here is as good: the best has {best} {score.unit}")
    else:
        times = "" if beside.macs_ratio is None else f" at {beside.macs_ratio:.2f} times the multiply-adds"
        ratio = (
            "" if beside.latency_ratio is None else f" and {beside.latency_ratio:.2f} times the milliseconds"
        )
        value = score.shown(beside.stage_value)
        print(f"stage {beside.stage} here is as good: {value} {score.unit}{times}{ratio}")
    if not beside.same_data:
        print("they were evaluated on data of different names: compare only if it is the same data")


def evaluated_images(report: Report) -> str:
    """How many images were evaluated, and which."""
    part = "" if report.split == "all" else f"{report.split} "
    return f"{report.count} {part}images of {report.data}"


def print_budgeted(budgeted: BudgetedBatch) -> None:
    """The table of a budgeted batch, for people."""
    print(
        f"budgeted batch by {budgeted.confidence.replace('_', ' ')}, thresholds from {budgeted.val_count} "
        f"validation images; mean cost in {_COST_WORDS[budgeted.cost]}, images that leave at each stage"
    )
    print(budgeted.table())


def print_chosen_levels(chosen: ChosenLevels) -> None:
    """The table of chosen label levels and what they hold, for people."""
    selection = chosen.selection
    target = f"{100 * selection.target_accuracy:.1f} %"
    words = f"{target}, the last stage's on fine labels" if selection.target_from == "full_net" else target
    print(f"label levels chosen on the validation images to hold {words}")
    print(chosen.table())
    if selection.missed:
        stages = ", ".join(map(str, selection.missed))
        print(f"no level reached it on the validation images at stage {stages}")
    print(
        f"worst stage {100 * chosen.worst_accuracy:.1f} % right with chosen levels, "
        f"{100 * chosen.worst_fine_accuracy:.1f} % with fine labels only; "
        f"{chosen.mean_information:.2f} bits an answer on average"
    )


_COST_WORDS = {
    "macs_cumulative": "multiply-adds",
    "msd": "MSDNet's operations",
    "macs": "multiply-adds of the sub-network alone",
    "full": "operations of the sub-network alone",
}


def class_table(scores: tuple[ClassScore, ...]) -> str:
    """Precision and recall of the last stage, a line a class."""
    width = max(len(score.name) for score in scores)
    lines = [f"{'class':{width}}  images  precision %  recall %"]
    for score in scores:
        precision = "-" if score.precision is None else f"{100 * score.precision:.1f}"
        recall = "-" if score.recall is None else f"{100 * score.recall:.1f}"
        lines.append(f"{score.name:{width}}  {score.count:6}  {precision:>11}  {recall:>8}")
    return "\n".join(lines)
