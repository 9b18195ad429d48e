"""Gathers what nets answer under budgets into one CSV file: a row a run, seed and stage.

python reproductions/budgets.py RUN... --csv budgets.csv
python reproductions/budgets.py --csv budgets.csv --table 0.5 0.8 1.2 1.6

`macs` is what the stage costs alone: the price where the budget is known before the run. `spent` is what all
steps up to it cost, one after the other: the price where the run may be cut off at any moment. `--table`
prints the mean error over the seeds at budgets in M multiply-adds, both ways; of the stages that the budget
pays for, the one that was best on validation images answers.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from anytimenet.core.files.writing import write_text
from anytimenet.evaluation import Curve, read_report

COLUMNS = ("run", "seed", "stage", "macs", "spent", "params", "validated", "top1")
PRICES = ("macs", "spent")


def gathered(run: Path) -> Iterator[dict[str, object]]:
    """The rows of one run with several seeds."""
    import anytimenet as an
    from anytimenet.costs import stage_costs

    folders = sorted(run.glob("seed-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    if not folders:
        raise SystemExit(f"{run} holds no seed-* folders: give the folder of a run with --seeds")
    for folder in folders:
        bundle, report = an.load(folder), read_report(folder)
        costs = stage_costs(bundle.net, bundle.manifest.input_shape)
        for cost, stage, record in zip(costs, report.stages, bundle.manifest.stages, strict=True):
            _check_validated(str(folder), record.val_accuracy)
            yield {
                "run": run.name,
                "seed": folder.name.partition("-")[2],
                "stage": cost.stage,
                "macs": cost.macs,
                "spent": cost.macs_cumulative,
                "params": cost.params_cumulative,
                "validated": record.val_accuracy,
                "top1": stage.top1,
            }


def curves(path: Path, price: str) -> dict[str, list[Curve]]:
    """The curves of the seeds of each run; of the stages paid for, the best validated one answers."""
    found: dict[str, dict[str, list[dict[str, str]]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            _check_validated(f"{row['run']} in {path}", row["validated"])
            found.setdefault(row["run"], {}).setdefault(row["seed"], []).append(row)
    return {run: [_curve(rows, price, run) for rows in seeds.values()] for run, seeds in found.items()}


def mean_error_at(seeds: list[Curve], budget: float) -> float | None:
    """In percent; None where the budget pays for no stage."""
    if budget < seeds[0].costs[0]:
        return None
    return 100 - 100 * statistics.mean(curve.accuracy_at(budget) for curve in seeds)


def table(path: Path, budgets: list[float]) -> list[str]:
    """The lines of the table."""
    known, cut = (curves(path, price) for price in PRICES)
    head = [*(f"{budget:g} M known" for budget in budgets), *(f"{budget:g} M cut off" for budget in budgets)]
    lines = ["| run | " + " | ".join(head) + " |", "|---" + "|--:" * len(head) + "|"]
    for run in known:
        cells = [mean_error_at(seeds[run], 1e6 * budget) for seeds in (known, cut) for budget in budgets]
        lines.append(f"| {run} | " + " | ".join("" if c is None else f"{c:.1f}" for c in cells) + " |")
    return lines


def _check_validated(what: str, validated: object) -> None:
    if validated in (None, ""):
        raise SystemExit(
            f"{what} was trained without validation images, by which a run chooses its answer: train it with "
            "some (--val-fraction)"
        )


def _check_names(runs: list[Path]) -> None:
    for name, count in Counter(run.name for run in runs).items():
        if count > 1:
            raise SystemExit(f"{count} runs are named {name!r}, and rows go by that name: rename folders")


def _curve(rows: list[dict[str, str]], price: str, run: str) -> Curve:
    rows = sorted(rows, key=lambda row: (int(row[price]), int(row["stage"])))
    # Two stages of one price (nets of a chain that repeat) are one point: the better validated answers.
    best: dict[int, dict[str, str]] = {}
    for row in rows:
        before = best.get(int(row[price]))
        if before is None or float(row["validated"]) >= float(before["validated"]):
            best[int(row[price])] = row
    curve = Curve(tuple(best), tuple(float(row["top1"]) for row in best.values()), run)
    return curve.chosen_by([float(row["validated"]) for row in best.values()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--csv", required=True, type=Path)
    parser.add_argument("--table", nargs="+", type=float, metavar="BUDGET")
    arguments = parser.parse_args()
    if arguments.runs:
        _check_names(arguments.runs)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for run in arguments.runs for row in gathered(run))
        write_text(arguments.csv, text.getvalue())
    if arguments.table:
        print("\n".join(table(arguments.csv, arguments.table)))


if __name__ == "__main__":
    main()
