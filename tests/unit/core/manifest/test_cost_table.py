"""A cost table survives the disk, interpolates batches, and stays with its machine."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.errors import AnytimeNetError, CostTableError
from anytimenet.core.manifest import machine as machine_module
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.folder import check_file_name
from anytimenet.core.manifest.machine import machine_stamp, same_machine


def _table(**changes: Any) -> CostTable:
    values: dict[str, Any] = {
        "device": "cpu",
        "machine": machine_stamp({"torch": "2.11.0"}),
        "dtype": "float32",
        "threads": 1,
        "input_shape": (3, 32, 32),
        "entries": {
            (0, 1, 1): Latency(1.0, 1.5, 2.0, repeats=50),
            (0, 1, 8): Latency(4.5, 5.0, 9.0, repeats=20),
            (0, 2, 1): Latency(3.0, 3.5, 4.0, repeats=50),
            (1, 2, 1): Latency(3.0, 3.5, 4.0, repeats=0, estimated=True),
        },
    }
    return CostTable(**{**values, **changes})


def test_disk_and_back(tmp_path: Path) -> None:
    path = tmp_path / "costs" / "cpu.json"
    _table().save(path)
    assert CostTable.load(path) == _table()
    assert [file.name for file in path.parent.iterdir()] == ["cpu.json"]  # nothing half-written beside it


def test_format_1_is_a_table_of_the_eager_backend_that_knows_no_more() -> None:
    value = _table(state_bytes=(4, 0), decode=Latency(1, 2, 3, repeats=5), backend="openvino").to_json()
    old = {key: value[key] for key in ("device", "machine", "dtype", "threads", "input_shape", "entries")}
    assert CostTable.from_json({"format": 1, **old}) == _table()
    with pytest.raises(CostTableError, match="'backend' is missing"):
        CostTable.from_json({"format": 2, **old})


def test_the_new_fields_come_back(tmp_path: Path) -> None:
    decode, preprocess = Latency(1, 2, 3, repeats=5), Latency(2, 3, 4, repeats=5)
    table = _table(backend="openvino", state_bytes=(4, 0), decode=decode, preprocess=preprocess)
    table.save(tmp_path / "table.json")
    assert CostTable.load(tmp_path / "table.json") == table


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, "12345678-cpu-eager-1-float32"),
        ({"backend": "onnxruntime", "threads": 2}, "12345678-cpu-onnxruntime-2-float32"),
        ({"device": "cuda-1", "dtype": "bfloat16"}, "12345678-cuda-1-eager-1-bfloat16"),
        (
            {"machine": {"id": "12345678", "accelerator": "NVIDIA H200"}},
            "12345678_NVIDIA_H200-cpu-eager-1-float32",
        ),
        ({"machine": {"id": "../../etc/x"}}, "_.._etc_x-cpu-eager-1-float32"),
        ({"machine": {"id": ["a", 7]}, "dtype": "a/b"}, "_a_7_-cpu-eager-1-a_b"),
        ({"machine": {"id": ""}}, "unknown-cpu-eager-1-float32"),
    ],
)
def test_the_key_names_where_it_was_measured_and_is_fit_for_a_file(changes: Any, key: str) -> None:
    table = _table(**{"machine": {"id": "12345678"}, **changes})
    assert table.key == key
    assert check_file_name(f"{table.key}.json")


def test_stages_and_batches() -> None:
    assert _table().num_stages == 2
    assert _table().batch_sizes == (1, 8)


def test_a_known_batch_is_given_as_measured() -> None:
    table = _table()
    for (start, stop, batch), latency in table.entries.items():
        assert table.latency(start, stop, batch) == latency


def test_between_batches_lies_the_line_and_it_is_marked() -> None:
    found = _table().latency(0, 1, batch=3)  # 2/7 of the way from 1 to 8
    expected = Latency(1 + 3.5 * 2 / 7, 1.5 + 3.5 * 2 / 7, 2 + 7 * 2 / 7, repeats=20, estimated=True)
    assert (found.median_ms, found.p95_ms, found.p99_ms) == pytest.approx(
        (expected.median_ms, expected.p95_ms, expected.p99_ms)
    )
    assert (found.repeats, found.estimated) == (20, True)


@given(
    st.dictionaries(st.integers(1, 64), st.tuples(*[st.floats(0, 1e6)] * 3), min_size=2, max_size=5),
    st.data(),
)
def test_interpolation_stays_between_its_neighbours(
    known: dict[int, tuple[float, ...]], data: st.DataObject
) -> None:
    entries = {(0, 1, batch): Latency(*sorted(times), repeats=1) for batch, times in known.items()}  # type: ignore[arg-type, misc]
    batch = data.draw(st.integers(min(known), max(known)))
    found = _table(entries=entries).latency(0, 1, batch)
    low = entries[0, 1, max(b for b in known if b <= batch)]
    high = entries[0, 1, min(b for b in known if b >= batch)]
    for name in ("median_ms", "p95_ms", "p99_ms"):
        one, other = sorted((getattr(low, name), getattr(high, name)))
        assert one - 1e-9 * one <= getattr(found, name) <= other + 1e-9 * other


@pytest.mark.parametrize("batch", [0, 9, 100])
def test_nothing_is_known_beyond_the_measured_batches(batch: int) -> None:
    with pytest.raises(CostTableError, match=r"batches of 1 to 8.*profile"):
        _table().latency(0, 1, batch)


def test_a_segment_that_was_measured_for_one_batch_is_known_for_that_one_only() -> None:
    with pytest.raises(CostTableError, match="1 to 1"):
        _table().latency(0, 2, batch=2)


def test_an_unknown_segment_is_named() -> None:
    with pytest.raises(CostTableError, match=r"segment \(2, 3\)"):
        _table().latency(2, 3)


# --- whose machine --------------------------------------------------------------------------------------


def test_another_machines_table_is_refused_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    elsewhere = _table(machine={**machine_stamp(), "id": "00000000", "cpu": "Another CPU"})
    elsewhere.save(path)
    with pytest.raises(CostTableError, match=r"Another CPU.*any_machine=True"):
        CostTable.load(path)
    assert CostTable.load(path, any_machine=True) == elsewhere


def test_a_table_of_another_accelerator_is_refused_if_the_caller_knows_its_own(tmp_path: Path) -> None:
    path = tmp_path / "cuda.json"
    _table(device="cuda", machine=machine_stamp({"accelerator": "H200"})).save(path)
    assert CostTable.load(path).device == "cuda"
    assert CostTable.load(path, machine=machine_stamp({"accelerator": "H200"})).device == "cuda"
    with pytest.raises(CostTableError, match=r"H200.*T4"):
        CostTable.load(path, machine=machine_stamp({"accelerator": "T4"}))


def test_the_stamp_is_json_and_stable() -> None:
    stamp = machine_stamp({"torch": "2.11.0", "accelerator": None})
    assert json.loads(json.dumps(stamp)) == stamp
    assert machine_stamp({"torch": "3"})["id"] == stamp["id"]
    assert stamp["cores"] >= 1
    assert stamp["cpu"]
    assert same_machine(stamp, machine_stamp())


def test_other_hardware_has_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine_stamp()
    monkeypatch.setattr("os.cpu_count", lambda: here["cores"] + 1)
    assert not same_machine(here, machine_stamp())
    monkeypatch.undo()
    monkeypatch.setattr(machine_module, "_cpu_model", lambda: "Another CPU")
    assert not same_machine(here, machine_stamp())


def test_extra_values_do_not_overwrite_the_stamp() -> None:
    with pytest.raises(ValueError, match="cpu"):
        machine_stamp({"cpu": "mine"})


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD  EPYC 9R14 \nprocessor\t: 1\nmodel name\t: other\n",
            "AMD EPYC 9R14",
        ),
        ("processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0c\n", "ARM 0x41 0xd0c"),
        ("processor : 0\nModel : Raspberry Pi 5 Model B\n", "Raspberry Pi 5 Model B"),
        ("nothing known\n", ""),
    ],
)
def test_names_of_processors(tmp_path: Path, text: str, model: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert machine_module._cpu_from_proc(tmp_path / "cpuinfo") == model
    assert machine_module._cpu_from_proc(tmp_path / "absent") == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "processor : 0\nflags : smep sse4_2 avx avx2 fma avx512f amx_tile amx_bf16 md\nflags : avx\n",
            ["amx_bf16", "amx_tile", "avx", "avx2", "avx512f", "fma", "sse4_2"],
        ),
        ("Features\t: half thumb neon vfpv4\n", ["neon"]),
        (
            "Features\t: fp asimd asimdhp asimddp sve sme2 i8mm cpuid\n",
            ["asimd", "asimddp", "asimdhp", "i8mm", "sme2", "sve"],
        ),
        ("nothing known\n", []),
    ],
)
def test_instruction_sets(tmp_path: Path, text: str, found: list[str]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert list(machine_module._instructions(tmp_path / "cpuinfo")) == found
    assert machine_module._instructions(tmp_path / "absent") == ()


def test_instruction_sets_are_no_part_of_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine_stamp()
    monkeypatch.setattr(machine_module, "_instructions", lambda path: ("avx9",))
    assert machine_stamp()["instructions"] == ["avx9"]
    assert same_machine(here, machine_stamp())


# --- what is no cost table ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda j: j.pop("dtype"), "'dtype' is missing"),
        (lambda j: j.update(format=3), "format 1 or 2"),
        (lambda j: j.update(format=True), "format 1 or 2"),
        (lambda j: j.pop("backend"), "'backend' is missing"),
        (lambda j: j.update(backend="../x"), "backend"),
        (lambda j: j.update(state_bytes=[5]), "state_bytes holds 1 numbers"),
        (lambda j: j.update(state_bytes=[5, -1]), "state_bytes"),
        (lambda j: j.update(decode={"median_ms": 1}), "decode.*'p95_ms' is missing"),
        (lambda j: j.update(preprocess=3.0), "preprocess must be a JSON object"),
        (lambda j: j.update(threads="1"), "threads must be a whole number, not '1'"),
        (lambda j: j.update(threads=0), "threads must be at least 1, not 0"),
        (lambda j: j.update(device="../../etc"), "device"),
        (lambda j: j.update(machine={}), "machine stamp"),
        (lambda j: j.update(input_shape=[3, 32.5]), "input_shape"),
        (lambda j: j.update(entries=[]), "at least one entry"),
        (lambda j: j.update(entries=[7]), r"entries: \[0\] must be a JSON object, not 7"),
        (lambda j: j["entries"].append(j["entries"][0]), "twice"),
        (lambda j: j["entries"][0].pop("median_ms"), "'median_ms' is missing"),
        (
            lambda j: j["entries"][0].update(median_ms="fast"),
            r"entries: \[0\].median_ms must be a number",
        ),
        (lambda j: j["entries"][0].update(median_ms=-1), "median_ms must be at least 0"),
        (lambda j: j["entries"][0].update(median_ms=99), "median <= p95"),
        (lambda j: j["entries"][0].update(p99_ms=float("nan")), "NaN is no JSON number"),
        (lambda j: j["entries"][0].update(estimated=0), "estimated must be True or False, not 0"),
        (lambda j: j["entries"][0].update(repeats=0), "estimated"),
        (lambda j: j["entries"][0].update(start=1), r"\(1, 1, 1\)"),
        (lambda j: j["entries"][0].update(batch=0), r"\(0, 1, 0\)"),
    ],
)
def test_malformed_tables_name_the_file_and_the_cause(tmp_path: Path, change: Any, cause: str) -> None:
    value = _table().to_json()
    change(value)
    path = tmp_path / "cpu.json"
    path.write_text(json.dumps(value))
    with pytest.raises(CostTableError, match=rf"cpu\.json.*{cause}"):
        CostTable.load(path, any_machine=True)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"null"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cpu.json"
    path.write_bytes(content)
    with pytest.raises(CostTableError, match=r"cpu\.json"):
        CostTable.load(path)


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CostTableError, match=r"absent\.json"):
        CostTable.load(tmp_path / "absent.json")
    with pytest.raises(AnytimeNetError, match="a folder, not a regular file"):
        CostTable.load(tmp_path)


def test_a_failed_save_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    _table().save(path)
    with pytest.raises(ValueError, match="JSON"):
        replace(_table(), machine={"id": "x", "load": float("nan")}).save(path)
    assert CostTable.load(path) == _table()
