"""Label levels from the taxonomy to the answer: train, choose levels, judge the choice, predict."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anytimenet
from anytimenet.cli.main import run
from anytimenet.core.answers.level_selection import LevelSelection, select_levels
from anytimenet.core.errors import DataError
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.data.sets.image_set import save_png
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sources.named.digits import load_digits
from anytimenet.evaluation import ChosenLevels, Report
from anytimenet.workflows import choose_levels, evaluate_levels

SHAPES = {str(i): "round" if i in (0, 3, 6, 8, 9) else "straight" for i in range(10)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("levels")
    (folder / "shapes.json").write_text(json.dumps(SHAPES))
    arguments = ["--taxonomy", str(folder / "shapes.json"), "--net", "isresnext_tiny", "--epochs", "2"]
    assert run(["train", "digits", *arguments, "--quiet", "--out", str(folder / "run")]) == 0
    (folder / "shapes.json").unlink()
    return folder / "run"


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "bundle", tmp_path / "bundle"))


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_the_bundle_knows_how_right_each_stage_is_on_each_level(trained):
    bundle = anytimenet.load(trained)
    val = anytimenet.evaluate(bundle, split="val")
    rows = bundle.manifest.level_accuracies
    assert rows == tuple(
        (fine.top1, coarse.top1) for fine, coarse in zip(val.stages, val.levels[0].stages, strict=True)
    )
    assert bundle.manifest.class_names[1] == ("round", "straight")
    assert bundle.manifest.level_selection is None
    # The same images and labels again, without the file that named the levels.
    assert bundle.manifest.provenance["data"]["options"]["taxonomy"] == SHAPES


def test_a_target_is_held_by_coarser_answers(trained, capsys, tmp_path):
    bundle = anytimenet.load(trained)
    rows = bundle.manifest.level_accuracies
    target = rows[0][1]  # what stage 1 reaches on the coarser level, and not on the fine one
    assert rows[0][0] < target
    values = json_of(capsys, "evaluate", str(trained), "--target-accuracy", repr(target))
    chosen = ChosenLevels.from_dict(values["chosen_levels"])
    assert chosen == evaluate_levels(bundle, target_accuracy=target)
    assert chosen.selection == select_levels(rows, target)
    assert chosen.selection.levels[0] == 2
    assert values["chosen_levels"]["worst_accuracy"] > values["chosen_levels"]["worst_fine_accuracy"]
    report = Report.from_dict(values)
    assert [stage.fine_accuracy for stage in chosen.stages] == [stage.top1 for stage in report.stages]
    assert chosen.stages[0].accuracy == report.levels[0].stages[0].top1
    assert chosen.stages[0].summed_accuracy is not None
    assert anytimenet.load(trained).manifest.level_selection is None

    out = tmp_path / "out"
    assert (
        run(["evaluate", str(trained), "--target-accuracy", "full", "--tolerance", "0.1", "--out", str(out)])
        == 0
    )
    told = capsys.readouterr().out
    assert "the last stage's on fine labels" in told
    assert "fine labels only" in told
    held = ChosenLevels.from_dict(json.loads((out / "chosen_levels.json").read_text()))
    assert held.selection == choose_levels(bundle, tolerance=0.1)
    assert held.selection == choose_levels(bundle, target_accuracy="full", tolerance=0.1)


def test_saved_levels_are_what_predict_answers_with(copy, tmp_path, capsys):
    save_png(load_digits(DataOptions()).test, 0, tmp_path / "digit.png")
    predict = ["predict", str(copy), str(tmp_path / "digit.png"), "--stage", "1"]
    before = json_of(capsys, *predict)
    assert before["level"] == 1
    assert before["label"] == before["fine_label"]
    assert run(["evaluate", str(copy), "--target-accuracy", "1", "--save-levels"]) == 0
    assert "no level reached it on the validation images at stage" in capsys.readouterr().out
    assert Manifest.read(copy).level_selection == choose_levels(anytimenet.load(copy), target_accuracy=1)
    after = json_of(capsys, *predict)
    assert (after["level"], after["label"]) == (2, before["coarser"][0])
    assert after["fine_label"] == before["label"]
    assert run(predict) == 0
    assert (
        f"{after['label']} ({100 * after['probability']:.1f} %, level 2 of 2) by stage 1"
        in capsys.readouterr().out
    )


def test_a_bundle_that_was_not_measured_on_its_levels_is_measured_when_asked(trained, monkeypatch):
    from dataclasses import replace

    bundle = anytimenet.load(trained)
    known = choose_levels(bundle)
    stages = [replace(stage, coarser_val_accuracies=()) for stage in bundle.manifest.stages]
    bundle.manifest = replace(bundle.manifest, stages=tuple(stages))
    assert bundle.manifest.level_accuracies is None
    assert choose_levels(bundle) == known
    with pytest.raises(DataError, match="give data by name or DataSplits"):
        choose_levels(bundle, [(np.zeros((8, 8), np.uint8), 1)])


def test_fine_labels_of_other_data_are_lifted_along_the_bundles_taxonomy(trained, tmp_path):
    bundle = anytimenet.load(trained)
    fine = anytimenet.load_data("digits")
    assert anytimenet.evaluate(bundle, fine).levels == anytimenet.evaluate(bundle).levels
    items = [(fine.test.images[i], int(fine.test.labels[i, 0])) for i in range(50)]
    report = anytimenet.evaluate(bundle, items)
    assert report.levels[0].num_classes == 2
    for label in range(10):
        path = tmp_path / "digits" / str(label) / "0.png"
        path.parent.mkdir(parents=True)
        for copy in range(8):
            Image.fromarray(fine.test.images[label, :, :, 0]).save(path.with_name(f"{copy}.png"))
    assert anytimenet.evaluate(bundle, f"folder:{tmp_path / 'digits'}").levels[0].num_classes == 2


def test_other_coarser_classes_are_named_with_their_level(trained):
    bundle = anytimenet.load(trained)
    halves = {str(i): "low" if i < 5 else "high" for i in range(10)}
    with pytest.raises(
        DataError, match=r"of digits on level 2 are not .*: high, low instead of round, straight"
    ):
        anytimenet.evaluate(bundle, anytimenet.load_data("digits", DataOptions(taxonomy=halves)))
    swapped = {**SHAPES, "4": "round"}
    with pytest.raises(DataError, match="digits and the bundle put '4' into different coarser classes"):
        anytimenet.evaluate(bundle, anytimenet.load_data("digits", DataOptions(taxonomy=swapped)))
    three = {name: [shape, "digit"] for name, shape in SHAPES.items()}
    with pytest.raises(DataError, match=r"digits has labels on 3 level\(s\) and the bundle knows 2"):
        anytimenet.evaluate(bundle, anytimenet.load_data("digits", DataOptions(taxonomy=three)))


def test_a_run_is_not_resumed_with_another_taxonomy(tmp_path, capsys):
    words = ["train", "digits", "--net", "isresnext_tiny", "--epochs", "1", "--quiet", "--limit", "64"]
    for name, shapes in (("one", SHAPES), ("other", {**SHAPES, "4": "round"})):
        (tmp_path / f"{name}.json").write_text(json.dumps(shapes))
    words += ["--out", str(tmp_path / "run"), "--taxonomy"]
    assert run([*words, str(tmp_path / "one.json")]) == 0
    assert run([*words, str(tmp_path / "one.json"), "--resume"]) == 0
    capsys.readouterr()
    assert run([*words, str(tmp_path / "other.json"), "--resume"]) == 1
    assert "the images or their split changed" in capsys.readouterr().err


def test_nested_folders_train_and_are_found_again(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for i, name in enumerate(("animals/cat", "animals/dog", "plants/oak")):
        for part, count in (("train", 10), ("test", 4)):
            folder = tmp_path / "things" / part / name
            folder.mkdir(parents=True)
            for j in range(count):
                pixels = rng.integers(80 * i, 80 * i + 90, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{j}.png")
    data = f"folder:{tmp_path / 'things'}"
    arguments = ["--data", data, "--taxonomy", "nested", "--net", "resnet_tiny", "--epochs", "1"]
    assert (
        run(["train", "folder", *arguments, "--image-size", "8", "--quiet", "--out", str(tmp_path / "r")])
        == 0
    )
    moved = shutil.copytree(tmp_path / "things", tmp_path / "moved")
    flat = tmp_path / "flat"  # the same images, the coarser classes' folders left out
    for part in ("train", "test"):
        for folder in (tmp_path / "things" / part).glob("*/*"):
            shutil.copytree(folder, flat / part / folder.name)
    judged = []
    for more in (
        ["--trained-data"],
        ["--data", data],
        ["--data", f"folder:{moved}"],
        ["--data", f"folder:{flat}"],
    ):
        report = json_of(capsys, "evaluate", str(tmp_path / "r"), *more)
        assert (report["count"], report["num_classes"], report["levels"][0]["num_classes"]) == (12, 3, 2)
        judged.append([report["stages"], report["levels"]])
    assert all(one == judged[0] for one in judged)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save-levels"], "--save-levels needs --target-accuracy"),
        (["--tolerance", "0.1"], "--tolerance needs --target-accuracy"),
        (["--level-fallback", "best"], "--level-fallback needs --target-accuracy"),
        (["--target-accuracy", "47.5"], "--target-accuracy 47.5 must be a fraction from 0 to 1, or full"),
        (["--target-accuracy", "0.5", "--split", "val"], "evaluate another --split"),
        (["--target-accuracy", "0.5", "--tolerance", "0.1"], "name the lower accuracy instead"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(trained, arguments, message, capsys):
    assert run(["evaluate", str(trained), *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_taxonomy_that_lacks_classes_stops_training_with_a_line(tmp_path, capsys):
    file = tmp_path / "shapes.json"
    file.write_text(json.dumps({"0": "round"}))
    assert run(["train", "digits", "--taxonomy", str(file), "--quiet", "--out", str(tmp_path / "run")]) == 1
    assert "says nothing about '1', '2'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_label_level_leaves_nothing_to_choose():
    net = anytimenet.create_net("resnet_tiny", in_channels=1)
    bundle = anytimenet.fit(net, "digits", config=anytimenet.TrainConfig(epochs=1))
    with pytest.raises(
        DataError, match=r"one label level, so there is none to choose: train it with .*taxonomy=FILE"
    ):
        evaluate_levels(bundle)
    with pytest.raises(ValueError, match="evaluate them on another split"):
        evaluate_levels(bundle, split="val")


def test_statistics_estimated_anew_are_measured_on_every_level(trained):
    bundle = anytimenet.load(trained)
    bundle.use_levels(LevelSelection((2, 2, 1), (0.9, 0.9, 0.9), 0.9))
    fresh = anytimenet.reestimate(bundle, num_batches=1)
    assert fresh.manifest.level_selection is None
    val = anytimenet.evaluate(fresh, split="val")
    assert [row[1] for row in fresh.manifest.level_accuracies] == [s.top1 for s in val.levels[0].stages]
