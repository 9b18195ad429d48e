"""Benchmark results keep a history: none takes the place of another commit's."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").rglob("*.json"))


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("history")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_committed_result_lies_where_its_commit_and_machine_say(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    commit, _, machine = path.stem.rpartition("-")
    assert path.parent.parent == BENCHMARKS / "results"
    assert machine == result["machine"]["id"]
    assert result.get("commit", commit) == commit
    assert result["rows"]


def test_results_of_two_commits_stand_beside_each_other(history: ModuleType, tmp_path: Path) -> None:
    assert doctest.testmod(history).failed == 0
    for day, commit, machine in ((2, "bbb", "m1"), (1, "aaa", "m1"), (3, "aaa", "m2")):
        result = {"measured": f"2026-01-0{day}T00:00:00", "machine": {"id": machine}, "rows": [{"ms": day}]}
        path = history.place(tmp_path, "speed", commit, machine)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result))
    rows = history.rows_by_commit(history.history(tmp_path, "speed"))
    assert [(row["commit"], row["machine"], row["ms"]) for row in rows] == [
        ("aaa", "m1", 1),
        ("bbb", "m1", 2),
        ("aaa", "m2", 3),
    ]


def test_what_is_measured_is_named_by_its_commit(history: ModuleType) -> None:
    if not (BENCHMARKS.parent / ".git").exists():
        pytest.skip("this is no checkout")
    assert len(history.commit().removesuffix("+")) >= 10
