"""An exported net comes from a URL or into a folder, and answers with the segments that are here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.core.delivery.servers import Server, serving

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BundleError, DeliveryError, MissingExtraError
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.export import export
from anytimenet.runtime import ExportedNet, Session, load
from anytimenet.runtime.cli.main import run
from anytimenet.runtime.exported import net as net_module
from anytimenet.runtime.exported.tables import store_table
from anytimenet.testing.net_under_test import redraw

X = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[[f"class {i}" for i in range(10)]], preprocessing=preprocessing)
    bundle.save(tmp_path_factory.mktemp("exported") / "bundle")
    return export(bundle, tmp_path_factory.mktemp("exported") / "folder")


@pytest.fixture
def server(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("ANYTIMENET_CACHE", str(tmp_path / "cache"))
    files = {path.relative_to(exported).as_posix(): path.read_bytes() for path in exported.rglob("*")}
    with serving(files, listed=False) as server:
        yield server


def answer(net: ExportedNet, stage: int) -> np.ndarray:
    """What stage `stage` says, step by step."""
    session = Session(net, X)
    for _ in range(stage):
        found = session.step()
    return found.output[0]


def test_a_url_is_loaded_as_its_folder_is(server, exported):
    net, known = load(server.url), load(exported)
    assert net.segments == known.segments
    assert np.array_equal(answer(net, 3), answer(known, 3))


def test_the_first_stages_of_a_url_are_no_more_than_their_files(server, exported):
    first = load(server.url, 1)
    assert sorted(path for path, _ in server.asked if path not in ("bundle.json", "manifest.json")) == [
        "model-00001-of-00003.safetensors",
        "segment-0-1.onnx",
    ]
    assert np.array_equal(answer(first, 1), answer(load(exported), 1))


def test_a_net_answers_while_its_segments_arrive_and_a_session_keeps_its_own(exported, tmp_path, monkeypatch):
    checked: list[str] = []
    real = net_module.read_listed

    def noted(folder: Path, name: str, *about: Any, **more: Any) -> Any:
        checked.append(name)
        return real(folder, name, *about, **more)

    monkeypatch.setattr(net_module, "read_listed", noted)
    folder = tmp_path / "net"
    folder.mkdir()
    shutil.copy(exported / "manifest.json", folder)
    whole = load(exported)
    checked.clear()
    with load(folder, progressive=True) as arriving:
        sessions = []
        for stage in (1, 2, 3):
            names = [path.name for path in exported.iterdir()]
            for name in names:
                if f"model-0000{stage}" in name or f"-{stage}.onnx" in name:
                    shutil.copy(exported / name, folder)
            net = arriving.wait(stage, timeout_s=30)
            assert net.num_stages == stage
            sessions.append((Session(net, X), stage))
        for session, stage in sessions:
            for step in range(1, stage + 1):
                assert np.array_equal(session.step().output[0], answer(whole, step))
    assert sorted(checked) == sorted(set(checked)), "no file is hashed twice"


def test_another_net_in_its_place_is_no_upgrade(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "net")
    net = load(folder, 2)
    with pytest.raises(ValueError, match="stages"):
        net.upgraded(1)
    assert net.upgraded(3).num_stages == 3
    text = (folder / "manifest.json").read_text()
    shutil.copytree(export_of_another(tmp_path), folder, dirs_exist_ok=True)
    assert (folder / "manifest.json").read_text() != text
    with pytest.raises(BundleError, match="was replaced since"):
        net.upgraded(3)


def export_of_another(tmp_path: Path) -> Path:
    net = create_net("isresnext_tiny", num_classes=4).eval()
    preprocessing = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[list("abcd")], preprocessing=preprocessing)
    return export(bundle, tmp_path / "other", segments=[(0, 1), (1, 2), (2, 3)])


def test_what_is_no_exported_net_is_told(server, exported, tmp_path):
    bundle = next(exported.parent.parent.glob("exported*/bundle"))
    for progressive in (True, False):
        with pytest.raises(BundleError, match=r"holds a bundle, which anytimenet\.load reads"):
            load(bundle, progressive=progressive)
        with pytest.raises(BundleError, match="is no exported net, for it holds no manifest"):
            load(tmp_path, progressive=progressive)
        with pytest.raises(BundleError, match="is no exported net"):
            load(tmp_path / "nowhere", progressive=progressive)
        server.files = {"bundle.json": b'{"files": {}}'}
        with pytest.raises(BundleError, match=r"holds a bundle: anytimenet\.load reads it"):
            load(server.url, progressive=progressive)


def test_a_wrong_segment_is_named(server):
    server.files["segment-1-2.onnx"] = bytes(len(server.files["segment-1-2.onnx"]))
    with load(server.url, progressive=True) as arriving:
        with pytest.raises(
            DeliveryError, match=r"segment-1-2\.onnx is not the file that manifest\.json lists"
        ):
            arriving.wait(timeout_s=30)
        assert arriving.model.num_stages == 1
        assert answer(arriving.model, 1).shape == (1, 10)


def test_a_net_from_a_url_keeps_what_was_measured_on_this_machine(server):
    entries = {
        (a, b, 1): Latency(1.0, 1.0, 1.0, repeats=9) for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (2, 3))
    }
    table = CostTable("cpu", machine_stamp(), "float32", 1, (3, 8, 8), entries, backend="onnxruntime")
    with load(server.url, progressive=True) as arriving:
        first = arriving.wait(1, timeout_s=30)
        store_table(first.folder, table)
        arriving.wait(timeout_s=30)
        assert first.upgraded(3).num_stages == 3
    asked = len(server.asked)
    assert load(server.url).cost_tables == {table.key: table}
    assert load(server.url, 2).cost_tables[table.key].num_stages == 2
    assert [path for path, _ in server.asked[asked:]] == ["bundle.json", "manifest.json"] * 2


def test_no_torch_is_needed(server, tmp_path):
    script = """
import sys
sys.modules["torch"] = None
from anytimenet.runtime import Predictor, load
import numpy as np
with load(sys.argv[1], progressive=True) as arriving:
    net = arriving.wait(timeout_s=60)
print(Predictor(net).predict(np.zeros((8, 8, 3), np.uint8), stage=3).stage)
"""
    found = subprocess.run(
        [sys.executable, "-c", script, server.url], capture_output=True, text=True, timeout=300
    )
    assert found.stdout == "3\n", found.stderr


def test_the_command_of_devices_takes_a_url(server, tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "image.png")
    assert run(["predict", server.url, str(tmp_path / "image.png"), "--stage", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stage"] == 2
    assert run(["predict", "file:///etc", str(tmp_path / "image.png")]) != 0
    assert "file:// is not fetched" in capsys.readouterr().err


def test_segments_are_open_before_a_net_takes_its_place(server):
    with load(server.url, progressive=True) as arriving:
        net = arriving.wait(timeout_s=60)
    assert set(net.backend.prepared) == net.segments


def test_an_engine_that_is_not_installed_is_told_by_wait(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with load(server.url, progressive=True) as arriving:
        with pytest.raises(MissingExtraError, match="onnxruntime is needed here and is not installed"):
            arriving.wait(1, timeout_s=60)
        assert arriving.stages_ready == 0
