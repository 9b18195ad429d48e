"""Files that are missing, cut, changed, or of another machine: a bundle and an export say so in one line.

Each kind of folder is damaged in each way, file by file; what is raised names the file and the cure.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anytimenet as an
from anytimenet import Bundle, CostTable, Preprocessing
from anytimenet.core.errors import AnytimeNetError, BundleError, CostTableError
from anytimenet.core.manifest.cost_table import Latency
from anytimenet.core.manifest.folder import record_of
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.core.manifest.versions import digest_of
from anytimenet.export import export
from anytimenet.runtime import ExportedNet, Predictor, load
from anytimenet.testing.net_under_test import redraw

IMAGE = np.zeros((8, 8, 3), np.uint8)
X = np.zeros((1, 3, 8, 8), np.float32)
ELSEWHERE = {**machine_stamp(), "id": "f" * 12, "processor": "another one", "machine": "pdp11"}
FIRST, SECOND = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"
MANIFEST = {"bundle": "bundle.json", "export": "manifest.json"}
AGAIN = {"bundle": "download or save the bundle again", "export": "download or export it again"}


def table(machine: dict[str, Any], backend: str) -> CostTable:
    steps = [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    entries = {(a, b, 1): Latency(b - a, b - a, b - a, repeats=50) for a, b in steps}
    return CostTable("cpu", machine, "float32", 1, (3, 8, 8), entries, backend=backend)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle and its export, with cost tables of another machine."""
    place = tmp_path_factory.mktemp("good")
    net = an.create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)
    names = [[f"class {i}" for i in range(10)]]
    bundle = Bundle.create(
        net, class_names=names, preprocessing=preprocessing, val_accuracies=(0.5, 0.6, 0.7)
    )
    for backend in ("eager", "onnxruntime"):
        bundle.add_cost_table(table(ELSEWHERE, backend))
    return {"bundle": bundle.save(place / "bundle"), "export": export(bundle, place / "export")}


@pytest.fixture(params=["bundle", "export"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(folders: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    return shutil.copytree(folders[kind], tmp_path / "net")


def loaded(kind: str, folder: Path, stages: int | None = None) -> Bundle | ExportedNet:
    return an.load(folder, stages) if kind == "bundle" else load(folder, stages)


def cost_file(folder: Path) -> str:
    return min(path.relative_to(folder).as_posix() for path in (folder / "costs2").iterdir())


def refused(kind: str, folder: Path, file: str) -> str:
    """What is raised where the net is loaded: one line that names the file."""
    with pytest.raises(AnytimeNetError) as caught:
        loaded(kind, folder)
    message = str(caught.value)
    assert type(caught.value) is BundleError
    assert "\n" not in message
    assert str(folder / file) in message
    return message


def wanted(kind: str) -> list[str]:
    """Files that an answer needs."""
    return [FIRST, SECOND] if kind == "bundle" else [FIRST, SECOND, "segment-0-1.onnx", "segment-1-2.onnx"]


def test_a_missing_file(kind, folder):
    for file in [*wanted(kind), *([cost_file(folder)] if kind == "bundle" else [])]:
        data = (folder / file).read_bytes()
        (folder / file).unlink()
        message = refused(kind, folder, file)
        assert "is missing: " in message
        if file in (SECOND, "segment-1-2.onnx"):
            assert message.endswith("download it, or load the stages that are there with stages=1")
            assert loaded(kind, folder, 1).num_stages == 1
        else:
            assert message.endswith(AGAIN[kind])
        (folder / file).write_bytes(data)
    assert loaded(kind, folder).num_stages == 3


def test_a_missing_cost_table_is_no_reason_to_refuse_an_export(folders, tmp_path):
    folder = shutil.copytree(folders["export"], tmp_path / "net")
    shutil.rmtree(folder / "costs2")
    net = load(folder)
    assert net.cost_tables == {}
    assert Predictor(net).predict(IMAGE, stage=3).stage == 3


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[: len(data) // 2], "is truncated ("),
        (lambda data: b"", "is truncated (0 bytes instead of"),
        (lambda data: data + b"more", "is another file ("),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "is not the file that {manifest} lists"),
    ],
)
def test_a_cut_or_changed_file(kind, folder, damage: Callable[[bytes], bytes], reason):
    for file in (*wanted(kind), cost_file(folder)):
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(damage(data))
        message = refused(kind, folder, file)
        assert reason.format(manifest=MANIFEST[kind]) in message
        assert message.endswith(AGAIN[kind])
        (folder / file).write_bytes(data)


def test_what_is_no_file(kind, folder):
    for file in wanted(kind):
        data = (folder / file).read_bytes()
        (folder / file).unlink()
        (folder / file).mkdir()
        assert "it is a folder, not a regular file" in refused(kind, folder, file)
        (folder / file).rmdir()
        os.mkfifo(folder / file)  # which nobody waits for
        assert "it is a pipe, not a regular file" in refused(kind, folder, file)
        (folder / file).unlink()
        (folder / file).write_bytes(data)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b"NaN", b"[" * 100_000])
def test_a_manifest_that_is_none(kind, folder, content):
    (folder / MANIFEST[kind]).write_bytes(content)
    message = refused(kind, folder, MANIFEST[kind])
    assert "is not JSON (" in message or "not written by anytimenet" in message


def test_a_manifest_that_was_cut_or_changed(kind, folder):
    text = (folder / MANIFEST[kind]).read_text()
    (folder / MANIFEST[kind]).write_text(text[: len(text) // 2])
    assert "is not JSON (" in refused(kind, folder, MANIFEST[kind])
    (folder / MANIFEST[kind]).write_text(text.replace("class 3", "class 4"))
    assert "its digest does not match" in refused(kind, folder, MANIFEST[kind])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{}", "'format' is missing"),
        (b"[", "is not JSON"),
        (b'{"format": 99}', "of format 1 or 2"),
        (None, "inputs of"),
    ],
)
def test_a_listed_cost_table_that_is_none_is_set_aside(kind, folder, content, reason):
    """Latencies are measured again in minutes: for want of them no net is refused."""
    if content is None:
        other = replace(table(ELSEWHERE, "eager"), input_shape=(3, 9, 9))
        content = json.dumps(other.to_json()).encode()
    file = folder / MANIFEST[kind]
    value, name = json.loads(file.read_text()), cost_file(folder)
    value["files"][name] = record_of(content).to_dict()
    file.write_text(json.dumps({**value, "digest": digest_of(value)}))
    (folder / name).write_bytes(content)
    with pytest.warns(UserWarning, match=reason) as caught:
        net = loaded(kind, folder)
    assert len(caught) == 1
    assert str(folder / name) in str(caught[0].message)
    assert "Measure it again with" in str(caught[0].message)
    assert caught[0].filename == __file__, "the warning points at who loads"
    assert len(net.cost_tables) == 1


def test_a_cost_table_of_another_machine_is_kept_and_not_believed(kind, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = loaded(kind, folder)
    assert len(net.cost_tables) == 2
    backend = net.backend
    found = table_for(net.cost_tables, backend.name, backend.placement)
    assert found is None
    predictor = Predictor(net, table=found)
    with pytest.raises(CostTableError, match="needs latencies measured on this machine") as caught:
        predictor.predict(IMAGE, deadline_ms=5)
    assert "\n" not in str(caught.value)
    assert "profile" in str(caught.value)
    assert predictor.predict(IMAGE, stage=2).stage == 2
    assert predictor.predict(IMAGE, budget_macs=1e12).stage == 3
    here = table(machine_stamp(), backend.name)
    found = table_for({**net.cost_tables, here.key: here}, backend.name, backend.placement)
    assert found is here
    assert Predictor(net, table=found).predict(IMAGE, deadline_ms=10_000).stage == 3


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("file", ["segment-1-2.onnx", SECOND])
def test_a_file_that_went_after_the_net_was_loaded(folders, tmp_path, engine, file, capfd):
    """Backends open files when a segment is first wanted; what is finished by then stays."""
    damages: dict[str, Callable[[Path], object]] = {
        "is missing": Path.unlink,
        "is truncated": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    }
    for reason, damage in damages.items():
        folder = shutil.copytree(folders["export"], tmp_path / reason)
        backend = load(folder, backend=engine).backend
        state, _ = backend.run(0, 1, backend.begin(X))
        damage(folder / file)
        with pytest.raises(BundleError, match=f"{file} {reason}.*download or export it again") as caught:
            backend.run(1, 2, state)
        assert "\n" not in str(caught.value)
        backend.run(0, 1, backend.begin(X))


def test_a_bundle_needs_its_files_no_more_once_it_is_loaded(folders, tmp_path):
    folder = shutil.copytree(folders["bundle"], tmp_path / "net")
    bundle = an.load(folder)
    shutil.rmtree(folder)
    assert bundle.predict(IMAGE, stage=3).stage == 3
