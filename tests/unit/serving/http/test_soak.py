"""The server at twice its full load, for a short time here and for ten minutes by `make soak`."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.serving.http.serving import export_of, png, table_of

from anytimenet.runtime import load
from anytimenet.runtime.exported.tables import store_table

BENCHMARKS = Path(__file__).resolve().parents[4] / "benchmarks"


@pytest.fixture
def soaking(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("serving.soak")


@pytest.mark.slow
def test_what_the_server_holds_stays_and_every_request_ends(tmp_path, soaking):
    """Its cost table says 10 ms: twice the full load is little, and much of it is sent on any machine."""
    folder = export_of(tmp_path / "soaked")
    store_table(folder, table_of(load(folder), ms=10 / 3))
    found = soaking.soak(folder, png(), float(os.environ.get("SOAK_SECONDS", "6")), deadline_ms=200.0)
    assert set(found.statuses) <= soaking.ANSWERED | {soaking.NOT_SENT}
    assert found.statuses[200] > 0
    assert found.held[-1].threads > 1
    assert found.held[-1].metric_lines > 50
    assert not found.grown


@pytest.mark.parametrize("what", ["resident_mib", "threads", "descriptors", "requests", "metric_lines"])
def test_what_grows_is_seen(soaking, what):
    flat = soaking.Held(100.0, 20, 40, 3, 300)
    assert not soaking.Soaked(100, 1, {200: 1}, [flat] * 100).grown
    growing = [replace(flat, **{what: getattr(flat, what) + 5 * at}) for at in range(100)]
    (told,) = soaking.Soaked(100, 1, {200: 1}, growing).grown
    assert told.startswith(what)


def test_a_load_that_was_not_offered_is_seen(soaking):
    assert soaking.Soaked(1, 1, {200: 1000, soaking.NOT_SENT: 5}, []).is_offered
    assert not soaking.Soaked(1, 1, {200: 1000, soaking.NOT_SENT: 50}, []).is_offered
