"""The table that holds here is that of this machine, device, backend, threads and number format, or none."""

from dataclasses import replace

import pytest

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.runtime import Placement

HERE = {"id": "here"}
ENTRIES = {(0, 1, 1): Latency(1.0, 1.5, 2.0, repeats=50)}
TABLE = CostTable("cpu", HERE, "float32", 1, (3, 8, 8), ENTRIES)
TABLES = [
    TABLE,
    replace(TABLE, backend="onnxruntime"),
    replace(TABLE, threads=2),
    replace(TABLE, dtype="bfloat16"),
    replace(TABLE, device="cuda-1"),
    replace(TABLE, machine={"id": "elsewhere"}, backend="openvino"),
]
BY_KEY = {table.key: table for table in TABLES}


@pytest.mark.parametrize(
    ("backend", "placement", "wanted"),
    [
        ("eager", Placement(), TABLES[0]),
        ("onnxruntime", Placement(), TABLES[1]),
        ("eager", Placement(threads=2), TABLES[2]),
        ("eager", Placement(dtype="bfloat16"), TABLES[3]),
        ("eager", Placement("cuda:1"), TABLES[4]),
        ("onnxruntime", Placement(threads=2), None),
        ("eager", Placement("cuda"), None),
        ("openvino", Placement(), None),
    ],
)
def test_nothing_that_was_measured_otherwise_is_taken(
    backend: str, placement: Placement, wanted: CostTable | None
) -> None:
    assert table_for(BY_KEY, backend, placement, HERE) is wanted


def test_elsewhere_another_table_holds() -> None:
    assert table_for(BY_KEY, "openvino", Placement(), {"id": "elsewhere"}) is TABLES[-1]


def test_this_machine_is_asked_for_if_nobody_says_which() -> None:
    ours = replace(TABLE, machine=machine_stamp())
    assert table_for({**BY_KEY, ours.key: ours}, "eager", Placement()) is ours
    assert table_for(BY_KEY, "eager", Placement()) is None


def test_another_accelerator_is_another_machine() -> None:
    one, other = ({"id": "here", "accelerator": name} for name in ("H200", "T4"))
    tables = [replace(TABLE, device="cuda", machine=stamp) for stamp in (one, other)]
    by_key = {table.key: table for table in tables}
    assert len(by_key) == 2
    assert table_for(by_key, "eager", Placement("cuda"), other) is tables[1]
