"""Useful goodput: only correct answers before the deadline count, of all requests that were offered."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def load(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(f"serving.{name}")
    finally:
        sys.path.remove(str(BENCHMARKS))


generator, goodput, bench = map(load, ("generator", "goodput", "load"))


def run_of(latencies: list[float], status: list[int], labels: list[str], lag: float = 0.0) -> Any:
    count = len(latencies)
    intended = np.arange(count, dtype=float)
    bodies = [json.dumps({"label": label, "stage": 1 + i % 2}).encode() for i, label in enumerate(labels)]
    return generator.Run(
        intended, intended + lag, intended + np.array(latencies), np.array(status, np.int16), bodies, 1
    )


def test_each_request_counts_once() -> None:
    """In time and right; in time and wrong; right and late; refused; lost; broken."""
    nan = math.nan
    run = run_of([0.01, 0.02, 0.06, 0.001, nan, nan], [200, 200, 200, 503, 0, 1], ["a"] * 6)
    found = goodput.score(run, ["a", "b", "a", "a", "a", "a"], 0.05)
    assert found.offered == 6
    assert found.useful == pytest.approx(1 / 6)
    assert found.in_time == pytest.approx(2 / 6)
    assert found.late == pytest.approx(1 / 6)
    assert found.refused == pytest.approx(1 / 6)
    assert found.failed == pytest.approx(2 / 6)
    assert found.accuracy == 0.5
    assert found.stages == {1: 1, 2: 1}
    assert found.p50_ms == pytest.approx(20)


def test_what_a_request_takes_beside_its_queue_and_its_segments() -> None:
    """10 ms of which the server accounts for 7, 20 ms of which 15; who was not answered says nothing."""
    run = run_of([0.01, 0.02, 0.001], [200, 200, 503], ["a"] * 3)
    run.bodies[:2] = [
        json.dumps({"label": "a", "stage": 1, "timings": {"queued_ms": queued, "run_ms": 3.0}}).encode()
        for queued in (4.0, 12.0)
    ]
    assert goodput.score(run, ["a"] * 3, 0.05).beside_ms == pytest.approx(4)
    assert math.isnan(goodput.score(run_of([0.01], [200], ["a"]), ["a"], 0.05).beside_ms)


@pytest.mark.parametrize(("lag", "counts"), [(0.0009, True), (0.0011, False), (math.nan, False)])
def test_a_run_counts_only_with_a_punctual_generator(lag: float, counts: bool) -> None:
    """2 % of 50 ms; a request that never left is late without end."""
    found = goodput.score(run_of([0.01] * 10, [200] * 10, ["a"] * 10, lag), ["a"] * 10, 0.05)
    assert found.counts == counts


def test_the_table_keeps_the_best_limit_and_leaves_out_what_does_not_count() -> None:
    common = dict.fromkeys(("in_time", "accuracy", "refused", "late", "failed", "p50_ms", "p99_ms"), 0.0)
    cell = {"server": "x", "shape": "poisson", "rate": "0.8 C1", "counts": True, **common}
    cells = [
        {**cell, "limit": 1, "seed": 1, "useful": 0.2},
        {**cell, "limit": 2, "seed": 1, "useful": 0.4},
        {**cell, "limit": 2, "seed": 2, "useful": 0.6},
        {**cell, "limit": 4, "seed": 1, "useful": 0.9, "counts": False},
    ]
    (row,) = bench.table({"net": "n", "cells": cells})
    assert (row["limit"], row["useful"], row["seeds"]) == (2, 0.5, 2)
