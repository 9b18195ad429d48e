"""An exported folder: what is damaged or missing is named with a cure; the first files are enough."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BackendError, BundleError, MissingExtraError
from anytimenet.core.manifest.versions import digest_of
from anytimenet.export import export
from anytimenet.runtime import ExportedNet, Placement, backends_of
from anytimenet.testing.net_under_test import redraw

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def bundle():
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    return Bundle.create(
        net,
        class_names=[[f"class {i}" for i in range(10)]],
        preprocessing=Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3),
        val_accuracies=(0.5, 0.6, 0.7),
    )


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory):
    return export(bundle, tmp_path_factory.mktemp("exported") / "folder")


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "folder")


def test_it_holds_what_the_bundle_knew(bundle, exported):
    net = ExportedNet.load(exported)
    assert net.manifest == replace(bundle.manifest, files={})
    assert net.segments == {(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)}
    known = {(spec.start, spec.stop): spec for spec in bundle.segment_specs()}
    assert all(spec == known[spec.start, spec.stop] for spec in net.segment_specs)
    assert {"onnxruntime", "openvino"} <= set(backends_of(net))  # and those that need PyTorch, once imported


def answers(net: ExportedNet, stop: int) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)
    state = net.backend.begin(x)
    for stage in range(1, stop + 1):
        state, output = net.backend.run(stage - 1, stage, state)
    return output[0]


@pytest.mark.parametrize("stages", [1, 2])
def test_the_files_of_the_first_stages_answer_with_those(exported, folder, stages):
    whole = ExportedNet.load(exported)
    for path in folder.iterdir():
        later = [f"model-0000{k}" for k in range(stages + 1, 4)] + [
            f"-{k}.onnx" for k in range(stages + 1, 4)
        ]
        if any(part in path.name for part in later):
            path.unlink()
    first = ExportedNet.load(folder, stages=stages)
    assert first.num_stages == stages
    assert first.manifest.stages == whole.manifest.stages[:stages]
    assert max(stop for _, stop in first.segments) == stages
    assert np.array_equal(answers(first, stages), answers(whole, stages))
    with pytest.raises(BundleError, match=rf"is missing: download it, or load .* stages={stages}"):
        ExportedNet.load(folder)


@pytest.mark.parametrize("name", ["model-00002-of-00003.safetensors", "segment-0-1.onnx"])
def test_every_file_is_the_one_that_was_exported(folder, name):
    data = bytearray((folder / name).read_bytes())
    (folder / name).write_bytes(data[:-1])
    with pytest.raises(BundleError, match=rf"{name} is truncated .*again"):
        ExportedNet.load(folder)
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name} is not the file .*again"):
        ExportedNet.load(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing.*download"):
        ExportedNet.load(folder)


def changed(folder, change):
    """The manifest after a change, its digest made right: what an attacker can do."""
    file = folder / "manifest.json"
    value = json.loads(file.read_text())
    change(value)
    value["digest"] = digest_of(value)
    file.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda v: v["segments"][0].update(files=["../segment.onnx"]), "no name of a file"),
        (lambda v: v.update(weights=[["/etc/passwd"]] * 3), "no name of a file"),
        (lambda v: v.update(weights=v["weights"][:2]), "2 lists of files for 3 stages"),
        (lambda v: v["segments"].reverse(), "in order"),
        (lambda v: v.update(format_version=2), "upgrade anytimenet"),
        (lambda v: v.update(format="other"), "not written by anytimenet export"),
        (lambda v: v["files"].pop("segment-0-1.onnx"), "does not list segment-0-1.onnx"),
        (lambda v: v["net"].update(class_names=[["a"]]), "digest"),
        (lambda v: v.update(more=1), "unknown: ..more"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(folder, change, match):
    changed(folder, change)
    with pytest.raises(BundleError, match=match):
        ExportedNet.load(folder)


def test_a_changed_or_missing_manifest_is_refused(folder, tmp_path):
    file = folder / "manifest.json"
    file.write_text(file.read_text().replace('"opset":18', '"opset":19'))
    with pytest.raises(BundleError, match="digest does not match"):
        ExportedNet.load(folder)
    file.write_text("{")
    with pytest.raises(BundleError, match="is not JSON"):
        ExportedNet.load(folder)
    with pytest.raises(BundleError, match="is no exported net"):
        ExportedNet.load(tmp_path)


def test_a_segment_that_was_not_exported_says_how_to_get_it(exported):
    net = ExportedNet.load(exported)
    match = r"segment \(1, 3\) was not exported: export it with segments=\[\(1, 3\)"
    with pytest.raises(ValueError, match=match):
        net.files_of(1, 3)
    with pytest.raises(ValueError, match=match):
        net.backend.prepare(1, 3)


def test_what_cannot_run_it_says_so(exported, monkeypatch):
    with pytest.raises(BackendError, match="cuda"):
        _ = ExportedNet.load(exported, placement=Placement("cuda")).backend
    with pytest.raises(BackendError, match="known are: native, onnxruntime"):
        _ = ExportedNet.load(exported, backend="tensorflow").backend
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"onnxruntime is needed .*\[runtime\]"):
        _ = ExportedNet.load(exported).backend
