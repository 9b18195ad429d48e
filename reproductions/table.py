"""Prints the results of a CSV file as a table for a page: a line a run, a column a stage, in %.

python reproductions/table.py results.csv [--runs GLOB]

An entry is the error (of masks: the mean IoU), mean over the seeds; the first and the last also show the
standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from fnmatch import fnmatch
from pathlib import Path


def table(path: Path, pattern: str = "*") -> list[str]:
    """The lines of the table, in the order of the file."""
    scores: dict[str, dict[int, list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if fnmatch(row["run"], pattern):
                stages = scores.setdefault(row["run"], {})
                score = 1 - float(row["top1"]) if "top1" in row else float(row["mean_iou"])
                stages.setdefault(int(row["stage"]), []).append(100 * score)
    widest = max((max(stages) for stages in scores.values()), default=0)
    head = ["run", *(f"stage {number}" for number in range(1, widest + 1)), "seeds"]
    lines = [_line(head), _line(["---", *["--:"] * (widest + 1)])]
    for run, stages in scores.items():
        cells = [_cell(values, number in (1, max(stages))) for number, values in sorted(stages.items())]
        seeds = str(len(next(iter(stages.values()))))
        lines.append(_line([run, *cells, *[""] * (widest - len(cells)), seeds]))
    return lines


def _cell(values: list[float], spread: bool) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if spread and len(values) > 1 else mean


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path)
    parser.add_argument("--runs", default="*", help="only runs whose name fits this pattern")
    arguments = parser.parse_args()
    print("\n".join(table(arguments.csv, arguments.runs)))


if __name__ == "__main__":
    main()
