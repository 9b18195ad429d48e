"""Gathers label levels that hold an accuracy into one CSV file: a row a run, seed and stage.

python reproductions/levels.py runs/levels --csv levels.csv
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import anytimenet as an
from anytimenet.core.files.writing import write_text

COLUMNS = ("run", "seed", "stage", "macs", "level", "accuracy", "fine_accuracy", "summed_accuracy")


def rows(run: Path) -> list[dict[str, object]]:
    """What the default target, the last stage's validated accuracy on fine labels, gives on test images."""
    found = []
    for folder in sorted(run.glob("seed-*"), key=lambda folder: int(folder.name.partition("-")[2])):
        chosen = an.evaluate_levels(an.load(folder))
        seed = folder.name.partition("-")[2]
        for stage in chosen.stages:
            found.append(
                {"run": run.name, "seed": seed, **{name: getattr(stage, name) for name in COLUMNS[2:]}}
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--csv", required=True, type=Path)
    arguments = parser.parse_args()
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for run in arguments.runs for row in rows(run))
    write_text(arguments.csv, text.getvalue())


if __name__ == "__main__":
    main()
