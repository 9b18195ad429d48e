"""`anytimenet train RECIPE --alone`: the joint net and each of its sub-networks trained by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anytimenet import TrainConfig, create_net, fit, load, load_data
from anytimenet.cli.main import run
from anytimenet.core.errors import TrainingError
from anytimenet.core.files.writing import write_json
from anytimenet.data import Augmentation, DataOptions
from anytimenet.evaluation import read_report
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.recipes import Experiment, run_alone

EXPERIMENT = Experiment(
    data="digits",
    net="iresnext_tiny",
    config=TrainConfig(epochs=1, schedule="cosine", device="cpu"),
    augmentation=Augmentation(flip=False, pad=1),
    options=DataOptions(limit=200),
)
COMMAND = ["train", "digits", "--net", "iresnext_tiny", "--epochs", "1", "--limit", "200", "--quiet"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    assert run([*COMMAND, "--alone", "--out", str(out)]) == 0
    return out


def stamps(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_every_stage_has_a_run_of_its_own_beside_the_joint_one(done, capsys):
    assert {"joint", "alone-1", "alone-2", "alone-3", "optimality_gap.json", "optimality_gap.png"} == {
        path.name for path in done.iterdir()
    }
    gap = json.loads((done / "optimality_gap.json").read_text())
    joint = read_report(done / "joint")
    for stage in (1, 2, 3):
        alone = read_report(done / f"alone-{stage}")
        record = gap["stages"][stage - 1]
        assert record["macs"] == alone.stages[0].macs == joint.stages[stage - 1].macs
        assert record["joint_error"]["mean"] == pytest.approx(1 - joint.stages[stage - 1].top1)
        assert record["alone_error"]["mean"] == pytest.approx(1 - alone.stages[0].top1)
        assert record["gap"]["mean"] == pytest.approx(alone.stages[0].top1 - joint.stages[stage - 1].top1)
    assert "Stage 2 of iresnext_tiny alone was trained" in (done / "alone-2" / "summary.txt").read_text()


def test_the_bundle_of_a_stage_alone_is_the_kept_stage_and_predicts_as_it_was_judged(done):
    bundle = load(done / "alone-2")
    assert bundle.net.origin.keep == (2,)
    assert (bundle.num_stages, bundle.net.branches) == (1, (2,))
    test = load_data("digits", DataOptions(limit=200)).test
    right = [
        bundle.predict(test.images[i]).label == bundle.manifest.class_names[0][test.labels[i, 0]]
        for i in range(100)
    ]
    assert np.mean(right) == pytest.approx(read_report(done / "alone-2").stages[0].top1, abs=0.15)
    assert run(["info", str(done / "alone-2")]) == 0


def test_compare_draws_the_joint_net_and_the_separate_ones(done, tmp_path, capsys):
    runs = [str(done / name) for name in ("joint", "alone-1", "alone-3")]
    capsys.readouterr()
    assert run(["compare", *runs, "--out", str(tmp_path / "all.png"), "--json"]) == 0
    curves = json.loads(capsys.readouterr().out)["curves"]
    assert [len(curve["stages"]) for curve in curves] == [3, 1, 1]
    assert curves[1]["stages"][0]["macs"] == curves[0]["stages"][0]["macs"]


def test_training_alone_is_training_a_net_of_those_shapes(done):
    """The same as fitting the thin net by hand from weights of the same seed."""
    splits = load_data("digits", DataOptions(limit=200))
    net = create_net("iresnext_tiny", splits.num_classes, in_channels=1).keep((2,))
    config = load(done / "alone-2").manifest.provenance["config"]
    torch.manual_seed(config["seed"])
    draw_weights(net)
    ours = fit(net, splits, config=TrainConfig(**config), augmentation=Augmentation(flip=False, pad=1))
    theirs = load(done / "alone-2").net.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.net.state_dict().items())


def test_resume_trains_nothing_again_and_adds_what_is_missing(tmp_path, capsys):
    out = tmp_path / "run"
    assert run([*COMMAND, "--alone-stages", "1", "--seeds", "0,1", "--out", str(out)]) == 0
    assert {"joint", "alone-1"} <= {path.name for path in out.iterdir()}
    first = json.loads((out / "optimality_gap.json").read_text())
    assert (first["runs"], [s["stage"] for s in first["stages"]]) == (2, [1])
    assert first["stages"][0]["gap"]["sd"] is not None
    before = stamps(out / "joint") | stamps(out / "alone-1")
    assert run([*COMMAND, "--alone-stages", "1,3", "--seeds", "0,1", "--out", str(out), "--resume"]) == 0
    assert before == stamps(out / "joint") | stamps(out / "alone-1")
    again = json.loads((out / "optimality_gap.json").read_text())
    assert [s["stage"] for s in again["stages"]] == [1, 3]
    assert again["stages"][0] == first["stages"][0]
    assert (out / "alone-3" / "seed-1" / "bundle").is_dir()
    capsys.readouterr()
    assert run([*COMMAND, "--alone-stages", "1", "--out", str(out), "--resume"]) == 1
    assert "holds runs with several seeds" in capsys.readouterr().err


def test_a_run_that_was_cut_short_is_taken_up_where_it_stopped(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    two = replace(EXPERIMENT, config=replace(EXPERIMENT.config, epochs=2))
    for out in (whole, cut):
        run_alone(two, out, stages=(1,), quiet=True)
    for name in ("summary.txt", "report.json"):
        (cut / "alone-1" / name).unlink()
    joint = stamps(cut / "joint")
    gap = run_alone(two, cut, stages=(1,), resume=True, quiet=True)
    assert joint == stamps(cut / "joint")
    assert gap.to_dict() == json.loads((whole / "optimality_gap.json").read_text())


def test_nothing_is_overwritten_or_mixed_in_silence(done, tmp_path, capsys):
    before = stamps(done)
    assert run([*COMMAND, "--alone", "--out", str(done)]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert run([*COMMAND, "--alone-stages", "4", "--out", str(tmp_path / "x")]) == 1
    assert "stages must be from 1 to 3" in capsys.readouterr().err
    assert run([*COMMAND, "--alone", "--init", str(done / "joint"), "--out", str(tmp_path / "x")]) == 1
    assert "leave --init out" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    other = replace(EXPERIMENT, config=replace(EXPERIMENT.config, lr=0.05))
    with pytest.raises(TrainingError, match="lr was"):
        run_alone(other, done, stages=(1,), resume=True, quiet=True)
    assert stamps(done) == before
    assert run([*COMMAND, "--out", str(done)]) == 1
    assert "holds runs of --alone" in capsys.readouterr().err
    single = tmp_path / "single"
    single.mkdir()
    write_json(single / "experiment.json", EXPERIMENT.to_dict())
    with pytest.raises(TrainingError, match="holds a run of one net"):
        run_alone(EXPERIMENT, single, quiet=True)


def test_overwrite_replaces_the_runs(tmp_path):
    run_alone(EXPERIMENT, tmp_path, stages=(2,), quiet=True)
    first = json.loads((tmp_path / "alone-2" / "experiment.json").read_text())
    changed = replace(EXPERIMENT, config=replace(EXPERIMENT.config, lr=0.05))
    run_alone(changed, tmp_path, stages=(2,), quiet=True, overwrite=True)
    second = json.loads((tmp_path / "alone-2" / "experiment.json").read_text())
    assert (first["config"]["lr"], second["config"]["lr"]) == (0.1, 0.05)
    assert second["stages"] == [2]
    run_alone(changed, tmp_path, stages=(1,), quiet=True, overwrite=True)
    assert sorted(folder.name for folder in tmp_path.glob("alone-*")) == ["alone-1"]


def test_stages_of_stages_are_counted_in_the_whole_net(tmp_path):
    run_alone(replace(EXPERIMENT, stages=(1, 3)), tmp_path, stages=(2,), quiet=True)
    assert load(tmp_path / "joint").net.origin.keep == (1, 3)
    assert load(tmp_path / "alone-2").net.origin.keep == (3,)


def test_stages_that_learn_one_level_each_have_no_gap_of_fine_labels(tmp_path):
    experiment = Experiment("digits", "isresnext_tiny", config=TrainConfig(scheme="coarse_to_fine"))
    with pytest.raises(ValueError, match=r"learn one level each: train without recipes\.run_alone"):
        run_alone(experiment, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
