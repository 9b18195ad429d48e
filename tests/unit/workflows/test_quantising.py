"""8-bit segments are an option whose price is told: measured accuracies, agreement, no latency of others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.core.errors import DataError
from anytimenet.runtime import ExportedNet
from anytimenet.workflows.quantising import calibration_images
from anytimenet.workflows.reading import Reading

SEGMENTS = [(0, 1), (0, 2), (1, 2)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = an.create_net("resnext_exits_tiny", 10, in_channels=1, exits_after=(1, 3))
    config = an.TrainConfig(epochs=3, schedule="cosine", seed=0)
    return an.fit(net, "digits", config=config).save(tmp_path_factory.mktemp("int8") / "bundle")


@pytest.fixture(scope="module")
def exported(trained: Path) -> Path:
    return an.export_bundle(trained, trained.parent / "exported", int8=64, segments=SEGMENTS)


def test_the_folder_tells_what_the_8_bit_segments_are_worth(trained, exported):
    bundle, net = an.load(trained), ExportedNet.load(exported)
    found = net.about["int8"]
    val = an.load_data("digits").val
    assert (found["images"], found["compared"]) == (64, len(val))
    x, labels = images_of(bundle, val)
    answers = [np.concatenate([alone(net, k, one) for one in np.array_split(x, 5)]) for k in (1, 2)]
    accuracies = [(answer == labels).mean() for answer in answers]
    np.testing.assert_allclose([row[0] for row in found["accuracies"]], accuracies, atol=1e-9)
    assert [stage.val_accuracy for stage in net.manifest.stages] == pytest.approx(accuracies)
    assert [row[0] for row in found["before"]] == pytest.approx(bundle.accuracies, abs=1e-6)
    assert min(found["agreement"]) > 0.9


def images_of(bundle, images):
    reading = Reading(bundle, images)
    from anytimenet.workflows.quantising import _batches

    pairs = [(x.numpy(), labels[0].numpy()) for x, labels in _batches(images, reading)]
    return tuple(np.concatenate(each) for each in zip(*pairs, strict=True))


def alone(net, stage, x):
    _, output = net.backend.run(0, stage, net.backend.begin(x))
    return output[0].argmax(1)


def test_convolutions_are_8_bit_and_states_stay_float32(trained, exported):
    model = onnx.load(exported / "segment-1-2.int8.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}
    ends = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    assert ends == {onnx.TensorProto.FLOAT}
    backend = ExportedNet.load(exported).backend
    x = calibration_images(Reading(an.load(trained)), 8)
    state, _ = backend.run(0, 1, backend.begin(x))
    _, stepwise = backend.run(1, 2, state)
    _, jumped = backend.run(0, 2, backend.begin(x))
    assert (stepwise[0].argmax(1) == jumped[0].argmax(1)).mean() > 0.8


def test_measured_latencies_and_thresholds_of_float32_are_not_carried_over(trained, exported):
    assert ExportedNet.load(exported).cost_tables == {}
    assert ExportedNet.load(exported).manifest.thresholds is None


def test_segments_that_leave_a_stage_out_are_refused_before_anything_is_written(trained, tmp_path, capsys):
    command = ["export", str(trained), "--out", str(tmp_path / "out"), "--int8", "16", "--segments", "0-1"]
    assert run(command) == 1
    assert "none goes to stage 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_line_a_stage(trained, tmp_path, capsys):
    words = [
        "export",
        str(trained),
        "--out",
        str(tmp_path / "out"),
        "--int8",
        "16",
        "--segments",
        "0-1",
        "0-2",
    ]
    assert run([*words, "--json", str(tmp_path / "said.json")]) == 0
    said = capsys.readouterr().out
    assert "same answers %" in said
    assert json.loads((tmp_path / "said.json").read_text())["int8"]["images"] == 16


def test_8_bit_segments_may_keep_their_states_in_float16(trained, exported, tmp_path):
    half = an.export_bundle(trained, tmp_path / "half", int8=64, segments=SEGMENTS, state_dtype="float16")
    found, before = (ExportedNet.load(each).about["int8"] for each in (half, exported))
    assert found["compared"] == before["compared"]
    np.testing.assert_allclose(found["agreement"], before["agreement"], atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"int8": 0}, "int8"), ({"int8": 10**6}, "int8"), ({"int8": 8, "format": "openvino"}, "'onnx'")],
    ids=str,
)
def test_what_cannot_be_quantised_is_refused(trained, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        an.export_bundle(trained, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_data_without_training_images_is_refused(trained, tmp_path):
    with pytest.raises((DataError, ValueError)):
        an.export_bundle(trained, tmp_path / "out", int8=8, data="folder:nowhere")
