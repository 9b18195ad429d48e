"""Stored outputs: whole or absent, read back as they were, and as good as the net for every evaluation."""

import json

import numpy as np
import pytest
import safetensors.numpy

from anytimenet.core.answers.confidence import confidences
from anytimenet.core.errors import DataError
from anytimenet.evaluation import (
    Outputs,
    budgeted_from_outputs,
    exit_costs,
    mean_ensemble,
    read_outputs,
    report_from_outputs,
    sweep_budgeted_batch,
    write_outputs,
)
from anytimenet.evaluation.protocols.outputs import OutputCost
from anytimenet.evaluation.scores.outcomes import Outcomes

COSTS = tuple(OutputCost(k, 100 * k, 120 * k, 7 * k, 101 * k, 125 * k) for k in (1, 2, 3))


def outputs_of(split="test", count=60, classes=(6, 3), seed=0, names=("a", "b", "c", "d", "e", "f")):
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, c, count) for c in classes], axis=1)
    logits = tuple(tuple(rng.normal(size=(count, c)).astype(np.float32) for c in classes) for _ in COSTS)
    return Outputs(logits, labels, COSTS, data="made up", split=split, class_names=names)


def test_what_was_written_is_read_back(tmp_path):
    outputs = outputs_of()
    path = write_outputs(outputs, tmp_path / "deep" / "o.safetensors")
    again = read_outputs(path)
    assert (again.costs, again.data, again.split, again.class_names) == (
        COSTS, "made up", "test", outputs.class_names,
    )  # fmt: skip
    np.testing.assert_array_equal(again.labels, outputs.labels)
    for ours, theirs in zip(again.logits, outputs.logits, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype == np.float32
            np.testing.assert_array_equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == ["o.safetensors"]
    report = report_from_outputs(again, per_class=True, ensemble="mean")
    assert report == report_from_outputs(outputs, per_class=True, ensemble="mean")
    assert (report.data, report.per_class[0][0].name, report.ensemble.kind) == ("made up", "a", "mean")


def test_any_tool_can_read_the_tensors(tmp_path):
    outputs = outputs_of()
    write_outputs(outputs, tmp_path / "o.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "o.safetensors")
    assert set(tensors) == {"labels", *(f"stage-{k}.level-{i}" for k in (1, 2, 3) for i in (1, 2))}
    np.testing.assert_array_equal(tensors["stage-2.level-1"], outputs.logits[1][0])


def test_thresholds_come_from_validation_outputs():
    val, test = outputs_of("val", seed=1), outputs_of("test", seed=2)
    result = budgeted_from_outputs(val, test, confidence="margin", cost="msd", ps=(0.5, 1.0), budgets=[200])
    expected = sweep_budgeted_batch(
        confidences(val.fine(), "margin"),
        confidences(test.fine(), "margin"),
        np.stack([z.argmax(1) for z in test.fine()]) == test.labels[:, 0],
        exit_costs(COSTS, "msd"),
        ps=(0.5, 1.0),
        budgets=[200],
        kind="margin",
        cost="msd",
    )
    assert result == expected
    assert result.stage_costs == (125, 250, 375)
    with pytest.raises(DataError, match="say nothing when evaluated on the same"):
        budgeted_from_outputs(test, test)
    with pytest.raises(DataError, match="differ in stages, costs or classes"):
        budgeted_from_outputs(outputs_of("val", classes=(5, 3), names=()), test)


def test_outcomes_are_those_of_single_examples_in_blocks_or_not(monkeypatch):
    outputs = outputs_of()
    whole = outputs.outcomes(combine=mean_ensemble, confidence="entropy")
    monkeypatch.setattr("anytimenet.core.answers.confidence._BLOCK", 7 * 18)
    blocks = outputs.outcomes(combine=mean_ensemble, confidence="entropy")
    for name in ("predicted", "rank", "confidence", "nll"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name))
    p = mean_ensemble(np.stack(outputs.fine()))
    np.testing.assert_array_equal(whole.right, p.argmax(2) == outputs.labels[:, 0])
    np.testing.assert_allclose(
        whole.label_probability, np.take_along_axis(p, outputs.labels[None, :, :1], axis=2)[..., 0]
    )


def test_a_broken_logit_is_found_by_the_number_of_its_example(monkeypatch):
    monkeypatch.setattr("anytimenet.core.answers.confidence._BLOCK", 20)
    logits = np.zeros((50, 4))
    logits[33, 2] = np.nan
    with pytest.raises(DataError, match="example 33 are not finite"):
        Outcomes.of([logits], np.zeros(50, int))


@pytest.mark.parametrize("name", ["o.npz", "o", "o.json"])
def test_another_ending_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        write_outputs(outputs_of(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_files_that_are_damaged_foreign_or_absent_are_named(tmp_path):
    path = tmp_path / "o.safetensors"
    with pytest.raises(FileNotFoundError):
        read_outputs(path)
    write_outputs(outputs_of(), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"{}" + whole):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"o\.safetensors is damaged"):
            read_outputs(path)
    path.write_bytes(safetensors.numpy.save({"x": np.zeros(2)}))
    with pytest.raises(DataError, match="no outputs that this version reads"):
        read_outputs(path)
    about = json.dumps({"data": "", "split": "", "class_names": [], "costs": [{"stage": 1}]})
    metadata = {"format": "anytimenet-outputs", "version": "1", "about": about}
    tensors = {"labels": np.zeros((2, 1), np.int64), "stage-1.level-1": np.zeros((2, 3))}
    path.write_bytes(safetensors.numpy.save(tensors, metadata=metadata))
    with pytest.raises(DataError, match="damaged or holds no outputs"):
        read_outputs(path)


@pytest.mark.parametrize(
    ("logits", "labels", "costs"),
    [
        ((), np.zeros((2, 1), int), ()),
        (((np.zeros((2, 3)),),), np.zeros(2, int), COSTS[:1]),
        (((np.zeros((2, 3)),),), np.zeros((2, 1), int), COSTS),
        (((np.zeros((3, 3)),),), np.zeros((2, 1), int), COSTS[:1]),
        (((np.zeros((2, 3)), np.zeros((2, 3))),), np.zeros((2, 1), int), COSTS[:1]),
    ],
)
def test_outputs_that_do_not_fit_are_refused(logits, labels, costs):
    with pytest.raises(DataError, match=r"outputs need|has logits"):
        Outputs(logits, labels, costs)
