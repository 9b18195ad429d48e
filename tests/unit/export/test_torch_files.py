"""The format "torch": programs without weights that PyTorch runs, once that is allowed."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

import anytimenet.runtime.backends.known as known
from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BackendError
from anytimenet.core.manifest.folder import record_of
from anytimenet.core.manifest.versions import digest_of
from anytimenet.export import export
from anytimenet.export.programs import TorchPrograms
from anytimenet.export.torch_files import built
from anytimenet.runtime import ExportedNet, Placement
from anytimenet.testing import check_backend

SHAPE = (1, 8, 8)


def exported(net, folder: Path) -> Path:
    classes, look = [list("abcd")], Preprocessing(8, 8, 1, (0.5,), (0.5,))
    bundle = Bundle.create(net, class_names=classes, preprocessing=look)
    pairs = [(start, stop) for stop in range(1, net.num_stages + 1) for start in range(stop)]
    return export(bundle, folder, format="torch", segments=pairs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = create_net("plain_chain_tiny", 4, in_channels=1).eval()
    return exported(net, tmp_path_factory.mktemp("torch") / "folder")


def test_programs_keep_what_a_backend_promises(tmp_path):
    net = create_net("isresnext_tiny", 4, in_channels=1)
    check_backend(lambda copy: ExportedNet.load(exported(copy, tmp_path / "folder")).backend, net, SHAPE)


def test_weights_are_the_shards_and_nowhere_else(folder):
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert {file.suffix for file in folder.iterdir()} == {".json", ".gz", ".safetensors"}
    backend = ExportedNet.load(folder).backend
    for pair in sorted(backend.segments):
        backend.prepare(*pair)
    assert backend.nbytes == weights + sum(backend.prepared.values())
    assert sum(backend.prepared.values()) == 0  # a chain's segments read whole tensors


def test_it_is_opened_only_where_that_was_allowed(folder, monkeypatch):
    monkeypatch.delitem(known._known, (ExportedNet, "torch"))
    with pytest.raises(BackendError, match=r"import anytimenet\.export\.programs"):
        _ = ExportedNet.load(folder).backend


def forged(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = record_of(data).to_dict()
    manifest.pop("digest")
    (folder / "manifest.json").write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))
    return folder


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("segment-0-1.pt2.gz", gzip.compress(b"no program")),
        ("segment-0-1.pt2.gz", b""),
        ("segment-0-1.json.gz", gzip.compress(b"{")),
        ("segment-0-1.json.gz", gzip.compress(b'[{"file": "../../secret", "offset": 0, "shape": [1]}]')),
    ],
    ids=["no program", "empty", "no JSON", "a file outside"],
)
def test_damaged_files_are_refused_in_words(folder, tmp_path, name, data):
    net = ExportedNet.load(forged(shutil.copytree(folder, tmp_path / "copy"), name, data))
    with pytest.raises(BackendError, match="export it again"):
        net.backend.prepare(0, 1)


@pytest.mark.parametrize(
    "told",
    [
        {"file": "a", "offset": 0, "shape": [99]},
        {"file": "a", "offset": -4, "shape": [1]},
        {"file": "a", "offset": 0, "shape": [-1]},
        {"of": {"file": "a", "offset": 0, "shape": [2]}},
        {"axis": 3, "pieces": [{"file": "a", "offset": 0, "shape": [2]}]},
        {},
    ],
    ids=str,
)
def test_a_weight_is_never_read_from_outside_of_its_file(told):
    with pytest.raises(BackendError, match="export it again"):
        built(told, {"a": bytearray(16)})


def test_only_what_it_can_do_is_promised(folder):
    with pytest.raises(BackendError, match="cpu in float32"):
        TorchPrograms(ExportedNet.load(folder), Placement(device="cuda"))
    with pytest.raises(BackendError, match="format='onnx'"):
        _ = ExportedNet.load(folder, backend="onnxruntime").backend
