"""OpenVINO's own format: weights once, by stage, for all graphs; damaged files are refused in words."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import anytimenet.runtime.backends.openvino as backend_module
from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BackendError, BundleError
from anytimenet.core.manifest.versions import digest_of
from anytimenet.export import export
from anytimenet.runtime import ExportedNet, Placement
from anytimenet.runtime.backends.openvino import OpenVino, unpacked
from anytimenet.testing.net_under_test import redraw

STEPS = [(0, 1), (1, 2), (2, 3)]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    net = create_net("isresnext_tiny", 4, in_channels=1, width=48).eval()
    redraw(net, torch.Generator().manual_seed(0))
    classes, look = [list("abcd")], Preprocessing(8, 8, 1, (0.5,), (0.5,))
    return Bundle.create(net, class_names=classes, preprocessing=look)


@pytest.fixture(scope="module")
def folder(bundle, tmp_path_factory) -> Path:
    return export(bundle, tmp_path_factory.mktemp("openvino") / "folder", format="openvino")


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(np.float32)


def run(backend, path, x):
    state = backend.begin(x)
    for start, stop in path:
        state, output = backend.run(start, stop, state)
    return output[0]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("path", [STEPS, [(0, 3)], [(0, 2), (2, 3)]], ids=str)
def test_its_graphs_give_what_eager_pytorch_gives(bundle, folder, path, batch):
    net = ExportedNet.load(folder)
    assert net.kind == "openvino"
    assert isinstance(net.backend, OpenVino)
    found = run(net.backend, path, images(batch))
    with torch.no_grad():
        truth = bundle.net(torch.from_numpy(images(batch)))[2][0].numpy()
    assert np.abs(found - truth).max() <= net.backend.tolerance * np.abs(truth).max()


def test_weights_lie_once_by_stage_and_no_graph_names_the_place_that_it_was_made_in(bundle, folder):
    numbers = sum(tensor.nbytes for tensor in bundle.net.state_dict().values())
    files = sorted(folder.glob("*.bin"))
    assert [file.name for file in files] == [f"weights-0000{k}-of-00003.bin" for k in (1, 2, 3)]
    # What PyTorch counts of batches is left out; shapes and the numbers of cuts come to it.
    assert sum(file.stat().st_size for file in files) <= 1.1 * numbers
    graphs = [gzip.decompress(file.read_bytes()) for file in folder.glob("*.xml.gz")]
    assert len(graphs) == 5
    assert not any(b"/tmp" in graph or b"rt_info" in graph for graph in graphs)


def test_the_first_files_are_a_smaller_net(folder, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    for name in ("manifest.json", "weights-00001-of-00003.bin", "segment-0-1.xml.gz"):
        shutil.copy(folder / name, part / name)
    whole = ExportedNet.load(folder).backend
    found = run(ExportedNet.load(part, stages=1).backend, [(0, 1)], images(1))
    assert np.array_equal(found, run(whole, [(0, 1)], images(1)))
    with pytest.raises(BundleError, match=r"weights-00002-of-00003\.bin is missing"):
        ExportedNet.load(part)


def forged(folder: Path, name: str, data: bytes) -> Path:
    """A file of the folder replaced, with hashes and digest made right again, as a forger would."""
    from anytimenet.core.manifest.folder import record_of

    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = record_of(data).to_dict()
    manifest.pop("digest")
    (folder / "manifest.json").write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))
    return folder


@pytest.mark.parametrize(
    "damage",
    [
        lambda graph: b"",
        lambda graph: b"no gzip at all",
        lambda graph: gzip.compress(gzip.decompress(graph)[:2000]),
        lambda graph: gzip.compress(gzip.decompress(graph).replace(b'type="ReLU"', b'type="Unknown"')),
        lambda graph: gzip.compress(gzip.decompress(graph).replace(b' offset="', b' offset="99999999')),
        lambda graph: graph[: len(graph) // 2],
    ],
    ids=["empty", "no gzip", "cut inside", "unknown operator", "weights beyond the file", "cut"],
)
def test_a_forged_graph_is_refused_in_words(folder, tmp_path, damage):
    copy = shutil.copytree(folder, tmp_path / "copy")
    name = "segment-0-1.xml.gz"
    net = ExportedNet.load(forged(copy, name, damage((folder / name).read_bytes())))
    with pytest.raises(BackendError, match="export it again"):
        net.backend.prepare(0, 1)


def test_a_graph_that_unpacks_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(backend_module, "LARGEST_GRAPH", 1000)
    with pytest.raises(BackendError, match="more than 1000 bytes"):
        unpacked(gzip.compress(bytes(10_000)))


def test_a_truncated_or_missing_file_is_refused_before_openvino_sees_it(folder, tmp_path):
    for name in ("weights-00001-of-00003.bin", "segment-0-1.xml.gz"):
        copy = shutil.copytree(folder, tmp_path / name)
        (copy / name).write_bytes((folder / name).read_bytes()[:-1])
        with pytest.raises(BundleError, match=name):
            ExportedNet.load(copy)
        (copy / name).unlink()
        with pytest.raises(BundleError, match=name):
            ExportedNet.load(copy)


def test_only_what_openvino_can_do_is_promised(folder):
    for placement, words in (
        (Placement(device="warp"), "no device 'warp'"),
        (Placement(dtype="bfloat16"), "computes in float32"),
    ):
        with pytest.raises(BackendError, match=words):
            _ = ExportedNet.load(folder, placement=placement).backend
    with pytest.raises(BackendError, match="format='onnx'"):
        _ = ExportedNet.load(folder, backend="onnxruntime").backend


def test_a_segment_is_compiled_for_one_image_and_once_for_all_larger_batches(folder):
    backend = ExportedNet.load(folder).backend
    backend.prepare(0, 1)
    one = backend.nbytes
    assert backend.prepared == {(0, 1): one}
    run(backend, [(0, 1)], images(1))
    assert backend.nbytes == one
    run(backend, [(0, 1)], images(2))
    several = backend.nbytes
    run(backend, [(0, 1)], images(5))
    assert one < several == backend.nbytes


def test_after_a_batch_a_segment_is_still_prepared_for_one_image(folder):
    backend = ExportedNet.load(folder).backend
    run(backend, [(0, 1)], images(2))
    before = backend.nbytes
    backend.prepare(0, 1)
    ready = backend.nbytes
    assert ready > before
    backend.prepare(0, 1)
    run(backend, [(0, 1)], images(1))
    assert backend.nbytes == ready


def test_states_that_are_kept_in_float16_run_here_too(bundle, tmp_path):
    folder = export(bundle, tmp_path / "half", state_dtype="float16", segments=[(0, 1), (1, 3)])
    backend = ExportedNet.load(folder, backend="openvino").backend
    state, _ = backend.run(0, 1, backend.begin(images(1)))
    assert {array.dtype.name for name, array in backend.save(state).items() if name != "x"} == {"float16"}
    found = run(backend, [(0, 1), (1, 3)], images(1))
    with torch.no_grad():
        truth = bundle.net(torch.from_numpy(images(1)))[2][0].numpy()
    error = np.abs(found - truth).max() / np.abs(truth).max()
    assert 0 < error <= backend.tolerance


def test_float32_stays_float32_where_the_processor_has_bfloat16(folder):
    backend = ExportedNet.load(folder).backend
    backend.prepare(0, 1)
    (compiled, _) = backend._compiled[0, 1, 1]
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1


def test_backends_that_go_leave_the_thread_a_stack_for_signals():
    """In a process of its own, which would end: SIGCHLD comes in after two went, the first one first."""
    script = """
import signal, subprocess
from anytimenet.runtime.backends import openvino
first, second = openvino.shared_core(), openvino.shared_core()
import numpy as np, openvino as ov
from openvino import opset13 as ops
def compiled(core):
    x = ops.parameter([1, 4], np.float32)
    return core.compile_model(ov.Model([ops.relu(x)], [x]), "CPU")
a, b = compiled(first), compiled(second)
a([np.zeros((1, 4), np.float32)]), b([np.zeros((1, 4), np.float32)])
signal.signal(signal.SIGCHLD, lambda *_: None)
del a, first
del b, second
for _ in range(20):
    subprocess.run(["true"])
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n")
