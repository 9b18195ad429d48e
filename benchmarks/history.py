"""Results by commit: where one is written, and those of one benchmark in the order of measurement."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def commit() -> str:
    """The commit that is measured, with "+" where sources differ from it."""
    found = _git("rev-parse", "--short=10", "HEAD")
    changed = _git("status", "--porcelain", "--", "src", "benchmarks/*.py", "benchmarks/*/*.py")
    return f"{found}+" if changed else found


def place(out: Path, name: str, commit: str, machine: str) -> Path:
    """The file of one result: the next measurement of that commit on that machine takes its place.

    >>> place(Path("results"), "data-loader", "0123456789", "abd3dd45").as_posix()
    'results/data-loader/0123456789-abd3dd45.json'
    """
    return out / name / f"{commit}-{machine}.json"


def history(out: Path, name: str) -> list[dict[str, Any]]:
    """All results of one benchmark, the first measured first, each with its `commit`."""
    results = []
    for path in (out / name).glob("*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        results.append({**result, "commit": path.stem.rpartition("-")[0]})
    return sorted(results, key=lambda result: result["measured"])


def rows_by_commit(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all results for one table: only those of one machine can be compared."""
    rows = []
    for result in results:
        head = {"commit": result["commit"], "measured": result["measured"][:10]}
        rows += [head | {"machine": result["machine"]["id"]} | row for row in result["rows"]]
    return rows


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE.parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
