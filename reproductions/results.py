"""Gathers the reports of runs with several seeds into one CSV file: a row a run, seed and stage.

python reproductions/results.py runs/slicing/isresnext runs/slicing/thin --csv results.csv

A folder of `train --alone` gives its runs as `thin/joint`, `thin/alone-1` and so on, and a folder of such
runs as `folder/run`. `table.py` prints the file for a page.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from anytimenet.core.files.writing import write_text
from anytimenet.evaluation import read_any_report

COLUMNS = ("run", "seed", "stage", "macs", "params", "top1", "top5", "ece", "nll")
MASK_COLUMNS = (*COLUMNS[:5], "mean_iou", "pixel_accuracy")


def rows(run: Path, name: str = "") -> list[dict[str, object]]:
    """The test results of every seed of a run, seed by seed."""
    if (run / "joint").is_dir():
        inside = ["joint", *sorted(folder.name for folder in run.glob("alone-*"))]
        return [row for part in inside for row in rows(run / part, f"{run.name}/{part}")]
    groups = [folder.name for folder in sorted(run.glob("*")) if any(folder.glob("seed-*"))]
    if groups:
        return [row for part in groups for row in rows(run / part, f"{run.name}/{part}")]
    found: list[dict[str, object]] = []
    folders = sorted(run.glob("seed-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    for folder in folders:
        report = read_any_report(folder)
        columns = COLUMNS if report.task == "classification" else MASK_COLUMNS
        for stage in report.stages:
            values = {name: getattr(stage, name) for name in columns[2:]}
            found.append({"run": name or run.name, "seed": folder.name.partition("-")[2], **values})
    if not found:
        raise SystemExit(f"{run} holds no folders seed-N with a report.json; train with --seeds")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--csv", required=True, type=Path)
    arguments = parser.parse_args()
    text = io.StringIO()
    found = [row for run in arguments.runs for row in rows(run)]
    writer = csv.DictWriter(text, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    write_text(arguments.csv, text.getvalue())


if __name__ == "__main__":
    main()
