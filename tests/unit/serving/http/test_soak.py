"""The server at twice its full load, for a short time here and for ten minutes by `make soak`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
from tests.unit.serving.http.serving import export_of, png, table_of

from anytimenet.runtime import load
from anytimenet.runtime.exported.tables import store_table

BENCHMARKS = Path(__file__).resolve().parents[4] / "benchmarks"


@pytest.mark.slow
def test_memory_stays_flat_and_every_request_ends(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    soaking = importlib.import_module("serving.soak")
    folder = export_of(tmp_path / "soaked")
    store_table(folder, table_of(load(folder), ms=1.0))
    found = soaking.soak(folder, png(), float(os.environ.get("SOAK_SECONDS", "10")), deadline_ms=200.0)
    assert set(found.statuses) <= soaking.ANSWERED
    assert found.statuses[200] > 0
    assert found.flat, f"memory grew from {found.settled_mib:.0f} to {found.final_mib:.0f} MiB"


def test_growing_memory_is_seen():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        soaked = importlib.import_module("serving.soak").Soaked
    finally:
        sys.path.remove(str(BENCHMARKS))
    assert soaked(100, 1, {200: 1}, [100.0] * 100).flat
    assert not soaked(100, 1, {200: 1}, [100.0 + at for at in range(100)]).flat
