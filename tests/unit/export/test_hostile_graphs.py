"""A forged graph reads no file outside of its folder, in either engine; a missing engine is named."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BackendError, MissingExtraError
from anytimenet.core.manifest.folder import record_of
from anytimenet.core.manifest.versions import digest_of
from anytimenet.export import export
from anytimenet.runtime import ExportedNet, Placement

GRAPH = "segment-0-1.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = create_net("plain_chain_tiny", 4, in_channels=1).eval()
    classes, look = [list("abcd")], Preprocessing(8, 8, 1, (0.5,), (0.5,))
    bundle = Bundle.create(net, class_names=classes, preprocessing=look)
    return export(bundle, tmp_path_factory.mktemp("hostile") / "folder", segments=[(0, 1)])


def with_graph(folder: Path, graph: bytes) -> Path:
    """The folder with another graph, its hash and digest made right, as a forger would."""
    (folder / GRAPH).write_bytes(graph)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][GRAPH] = record_of(graph).to_dict()
    manifest.pop("digest")
    (folder / "manifest.json").write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))
    return folder


def reading_from(folder: Path, place: str) -> bytes:
    """The graph with its weights at another place."""
    model = onnx.load(folder / GRAPH, load_external_data=False)
    entries = [each for tensor in model.graph.initializer for each in tensor.external_data]
    assert any(each.key == "location" for each in entries)
    for each in entries:
        each.value = {"location": place, "offset": "0"}.get(each.key, each.value)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("place", ["../secret.bin", "{outside}", "link.bin", "nowhere.bin"])
def test_weights_are_read_from_the_folder_alone(folder, tmp_path, engine, place):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(10_000, np.float32).tobytes())
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "link.bin").symlink_to(secret)
    forged = with_graph(copy, reading_from(copy, place.format(outside=secret)))
    with pytest.raises(BackendError, match="export it again"):
        ExportedNet.load(forged, backend=engine).backend.prepare(0, 1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("graph", [b"", b"no protobuf", bytes(1000)], ids=["empty", "words", "zeros"])
def test_what_is_no_graph_is_refused_in_words(folder, tmp_path, engine, graph):
    forged = with_graph(shutil.copytree(folder, tmp_path / "copy"), graph)
    with pytest.raises(BackendError, match="export it again"):
        ExportedNet.load(forged, backend=engine).backend.prepare(0, 1)


@pytest.mark.parametrize(("engine", "extra"), [("onnxruntime", "runtime"), ("openvino", "openvino")])
def test_an_engine_that_is_not_installed_is_named_with_its_extra(folder, monkeypatch, engine, extra):
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(MissingExtraError, match=rf"anytimenet\[{extra}\]"):
        _ = ExportedNet.load(folder, backend=engine).backend


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_inputs_of_another_kind_are_refused(folder, engine):
    backend = ExportedNet.load(folder, backend=engine, placement=Placement(threads=2)).backend
    for wrong in (
        np.zeros((1, 3, 8, 8)),
        np.zeros((1, 1, 9, 8)),
        np.zeros((0, 1, 8, 8)),
        np.zeros((1, 8, 8)),
    ):
        with pytest.raises(ValueError, match="inputs"):
            backend.begin(wrong.astype(np.float32))
    with pytest.raises(ValueError, match="standardised floats"):
        backend.begin(np.zeros((1, 1, 8, 8), np.uint8))
    with pytest.raises(TypeError):
        backend.begin([[0.0]])
