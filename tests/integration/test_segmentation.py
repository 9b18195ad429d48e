"""Semantic segmentation from a folder of masks to a bundle, from Python and on the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.core.errors import DataError, TrainingError
from anytimenet.core.labels.mask_classes import IGNORED
from anytimenet.data import DataOptions, load_data
from anytimenet.evaluation import plot_masks
from anytimenet.training.step import TrainingStep
from anytimenet.workflows import images as judged_images
from anytimenet.workflows import label_maps, reestimating

COLOURS = {"sky": (70, 130, 180), "road": (128, 64, 128), "tree": (0, 128, 0)}
SIZE = (16, 24)


def street(rng: np.random.Generator, height: int = 32, width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A bright sky above a dark road, sometimes a green tree, and a border that does not count."""
    horizon = rng.integers(height // 3, 2 * height // 3)
    mask = np.zeros((height, width), np.uint8)
    mask[horizon:] = 1
    left = rng.integers(0, width - 12)
    mask[horizon - 8 : horizon + 4, left : left + 12] = 2
    shades = np.array([[200, 210, 240], [70, 70, 75], [30, 140, 40]])
    image = shades[mask] + rng.normal(0, 12, (height, width, 3))
    mask[:, :2] = 3
    return image.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `masks:PATH` reads it: 48 streets to train, 12 and 12 others."""
    root, rng = tmp_path_factory.mktemp("streets"), np.random.default_rng(0)
    classes = {
        "class_names": [*COLOURS, "void"],
        "palette": [*COLOURS.values(), (0, 0, 0)],
        "ignore_index": 3,
    }
    (root / "classes.json").write_text(json.dumps(classes))
    for part, count in (("train", 48), ("val", 12), ("test", 12)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for i in range(count):
            image, mask = street(rng)
            Image.fromarray(image).save(root / part / "images" / f"{i}.png")
            Image.fromarray(mask).save(root / part / "masks" / f"{i}.png")
    return root


def words(folder: Path, out: Path, *more: str) -> list[str]:
    common = ["train", "segmentation", "--data", f"masks:{folder}", "--net", "fcn_exits_tiny", "--quiet"]
    size = ["--image-size", "16x24", "--pad", "2", "--batch-size", "8", "--device", "cpu"]
    return [*common, *size, "--epochs", "8", "--out", str(out), *more]


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert run(words(folder, out)) == 0
    return out


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(arguments) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


# --- what training leaves behind -------------------------------------------------------------------------


def test_every_exit_learns_the_streets(trained):
    report = json.loads((trained / "report.json").read_text())
    assert report["kind"] == "segmentation"
    assert report["class_names"] == list(COLOURS)
    assert report["count"] == 12
    assert [stage["stage"] for stage in report["stages"]] == [1, 2, 3, 4]
    assert all(stage["mean_iou"] > 0.4 and stage["pixel_accuracy"] > 0.75 for stage in report["stages"])
    assert all(len(stage["class_ious"]) == 3 for stage in report["stages"])


def test_a_run_has_its_files_and_a_picture_of_one_street(trained):
    names = {path.name for path in trained.iterdir()}
    assert {
        "bundle",
        "report.json",
        "report.csv",
        "curve.png",
        "summary.txt",
        "masks.png",
        "log.jsonl",
    } <= names
    summary = (trained / "summary.txt").read_text()
    assert "The label maps of stage 1 reach a mean IoU of" in summary
    assert "Intersection over union in % of each class:" in summary
    shown = np.array(Image.open(trained / "masks.png").convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in np.unique(shown, axis=0).tolist()}
    assert set(COLOURS.values()) <= colours


def test_the_bundle_remembers_what_masks_mean_and_its_card_says_how_to_use_it(trained):
    bundle = an.load(trained)
    classes = bundle.manifest.mask_classes
    assert classes.names == tuple(COLOURS)
    assert classes.palette == tuple(COLOURS.values())
    assert classes.ignore_index == 3
    assert bundle.manifest.input_shape == (3, *SIZE)
    told = [stage.val_accuracy for stage in bundle.manifest.stages]
    last = json.loads(
        (trained / "log.jsonl").read_text().splitlines()[bundle.manifest.provenance["best_epoch"] - 1]
    )
    assert told == last["val"]
    card = (trained / "bundle" / "README.md").read_text()
    assert "validation mean IoU" in card
    assert 'label_map(bundle, "IMAGE.png"' in card


# --- from Python -----------------------------------------------------------------------------------------


def test_a_label_map_is_what_the_reports_count(folder, trained):
    bundle = an.load(trained)
    test = load_data(f"masks:{folder}", DataOptions(image_size=SIZE)).test
    report = an.evaluate(bundle, test)
    assert report.to_dict()["stages"] == json.loads((trained / "report.json").read_text())["stages"]
    for stage in (1, 4):
        maps = np.stack([an.label_map(bundle, image, stage=stage).classes for image in test.images])
        counted = test.masks != IGNORED
        accuracy = (maps == test.masks)[counted].mean()
        assert report.stages[stage - 1].pixel_accuracy == pytest.approx(accuracy, abs=2e-4)


def test_the_best_validated_stage_answers_within_a_budget(trained, folder):
    bundle, image = an.load(trained), folder / "test" / "images" / "0.png"
    assert an.label_map(bundle, image).stage == bundle.manifest.best_stage()[0]
    small = an.label_map(bundle, image, budget_macs=1)
    assert (small.stage, small.over_budget) == (1, True)
    assert small.classes.shape == SIZE
    assert small.classes.dtype == np.uint8
    assert sum(small.shares(list(COLOURS)).values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="not both"):
        an.label_map(bundle, image, stage=1, budget_macs=2)
    with pytest.raises(ValueError, match="stage must be from 1 to 4, not 5"):
        an.label_map(bundle, image, stage=5)


def test_written_masks_are_as_the_training_masks_are(trained, folder, tmp_path):
    bundle, image = an.load(trained), folder / "test" / "images" / "3.png"
    paths = an.write_masks(bundle, image, tmp_path / "out")
    assert [path.name for path in paths] == [f"3-stage-{k}.png" for k in range(1, 5)]
    for stage, path in enumerate(paths, 1):
        picture = Image.open(path)
        assert np.array_equal(np.array(picture), an.label_map(bundle, image, stage=stage).classes)
        assert {tuple(c) for c in np.array(picture.convert("RGB")).reshape(-1, 3)} <= set(COLOURS.values())
    assert (tmp_path / "out" / "3-stages.png").exists()


def test_the_picture_of_a_run_shows_the_maps_that_its_report_counts(folder, tmp_path, monkeypatch):
    """With a shorter side, of which decoded pixels must not lose their borders a second time."""
    drawn = {}

    def spy(pixels, maps, classes, path, *, truth, titles):
        drawn.update(pixels=pixels, maps=maps, truth=truth)
        return plot_masks(pixels, maps, classes, path, truth=truth, titles=titles)

    monkeypatch.setattr(label_maps, "plot_masks", spy)
    assert run(words(folder, tmp_path, "--shorter-side", "28", "--epochs", "2")) == 0
    bundle = an.load(tmp_path)
    assert bundle.manifest.preprocessing.shorter_side == 28
    shown = an.MaskSet(drawn["pixels"][None], drawn["truth"][None], ("shown",))
    counted = shown.masks[0] != IGNORED
    for stage, map_ in zip(an.evaluate(bundle, shown).stages, drawn["maps"], strict=True):
        assert stage.pixel_accuracy == (map_ == drawn["truth"])[counted].mean()
    # A file is cut once as well: from it comes the same map.
    whole = load_data(f"masks:{folder}", DataOptions(image_size=SIZE, shorter_side=28)).test
    place = next(i for i, image in enumerate(whole.images) if np.array_equal(image, drawn["pixels"]))
    for stage, map_ in enumerate(drawn["maps"], 1):
        assert np.array_equal(an.label_map(bundle, folder / whole.names[place], stage=stage).classes, map_)


def test_a_task_of_ones_own_may_weigh_the_classes(folder):
    splits = load_data(f"masks:{folder}", DataOptions(image_size=SIZE, limit=16))
    task = an.Segmentation((3,), class_weights=(1, 1, 4), augmentation=an.MaskAugmentation(scale=(0.8, 1.25)))
    config = an.TrainConfig(epochs=1, batch_size=8, device="cpu")
    bundle = an.fit(an.create_net("fcn_exits_tiny", 3), splits, config=config, task=task)
    assert all(0 <= stage.val_accuracy <= 1 for stage in bundle.manifest.stages)
    assert bundle.manifest.provenance["augmentation"]["scale"] == [0.8, 1.25]
    told = bundle.manifest.provenance["task"]
    assert (told["class"], told["class_weights"]) == ("Segmentation", [1.0, 1.0, 4.0])


def test_what_does_not_fit_together_is_refused_in_one_line(folder, trained):
    splits, bundle = load_data(f"masks:{folder}", DataOptions(image_size=SIZE)), an.load(trained)
    with pytest.raises(ValueError, match=r"take a segmentation net, such as net=.fcn_exits_small"):
        an.fit(an.create_net("resnet_tiny", 3), splits)
    with pytest.raises(ValueError, match="take data with masks"):
        an.fit(an.create_net("fcn_exits_tiny", 10, in_channels=1), "digits")
    with pytest.raises(ValueError, match="use MaskAugmentation"):
        an.fit(an.create_net("fcn_exits_tiny", 3), splits, augmentation=an.Augmentation())
    with pytest.raises(ValueError, match="pad 16 would shift images out of sight"):
        an.fit(an.create_net("fcn_exits_tiny", 3), splits, augmentation=an.MaskAugmentation(pad=16))
    with pytest.raises(ValueError, match="predict gives one label an image"):
        bundle.predict(folder / "test" / "images" / "0.png")
    with pytest.raises(ValueError, match="use evaluate"):
        an.collect_outputs(bundle)
    with pytest.raises(ValueError, match="evaluate it on images with masks"):
        an.evaluate(bundle, [(np.zeros((16, 24, 3), np.uint8), 0)])
    with pytest.raises(ValueError, match="evaluate it on images with masks"):
        an.reestimate(bundle, [(np.zeros((16, 24, 3), np.uint8), 0)])
    other = an.MaskSet(splits.test.images, np.full_like(splits.test.masks, 7), splits.test.names)
    with pytest.raises(ValueError, match="the masks hold class 7 and the bundle knows 3 classes"):
        an.evaluate(bundle, other)
    with pytest.raises(ValueError, match="split 'dev' does not exist"):
        an.evaluate(bundle, splits, split="dev")


def test_a_net_of_labels_is_told_that_masks_are_not_for_it(folder):
    splits = load_data(f"masks:{folder}", DataOptions(image_size=SIZE))
    labels = [(np.full((*SIZE, 3), 60 * (i % 3), np.uint8), i % 3) for i in range(12)]
    config = an.TrainConfig(epochs=1, batch_size=4, device="cpu")
    bundle = an.fit(an.create_net("resnet_tiny", 3), labels, config=config)
    for judge in (an.evaluate, an.reestimate, an.collect_outputs):
        for data in (splits.test, splits):
            with pytest.raises(DataError, match=r"gives one label an image, and .* has a mask for each"):
                judge(bundle, data)


def test_a_teacher_must_answer_as_the_net_does(folder):
    splits = load_data(f"masks:{folder}", DataOptions(image_size=SIZE, limit=8))
    config = an.TrainConfig(epochs=1, batch_size=4, device="cpu", scheme="teacher")
    maps, labels = an.create_net("fcn_exits_tiny", 3), an.create_net("resnet_tiny", 3)
    with pytest.raises(ValueError, match=r"the teacher gives one label an image and masks:.* has a mask for"):
        an.fit(maps, splits, config=config, teacher=labels)
    pairs = [(np.full((*SIZE, 3), 60 * (i % 3), np.uint8), i % 3) for i in range(12)]
    with pytest.raises(
        ValueError, match=r"the teacher gives a label for every pixel and .* has one label for"
    ):
        an.fit(labels, pairs, config=config, teacher=maps)
    assert an.fit(maps, splits, config=config, teacher=an.create_net("fcn_exits_tiny", 3)).num_stages == 4


def test_statistics_are_estimated_from_a_mask_set_in_batches_of_so_many_pixels(folder, trained, monkeypatch):
    bundle, sizes = an.load(trained), []
    train = load_data(f"masks:{folder}", DataOptions(image_size=SIZE)).train
    make = reestimating.make_loader

    def spy(images, preprocessing, *, batch_size, **options):
        sizes.append(batch_size)
        return make(images, preprocessing, batch_size=batch_size, **options)

    monkeypatch.setattr(reestimating, "make_loader", spy)
    fresh = an.reestimate(bundle, train, augmentation=None)
    # The same as from the data by name, of which the training part is read.
    other = an.reestimate(bundle, augmentation=None, trust_paths=True).net.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in fresh.net.state_dict().items())
    assert fresh.manifest.mask_classes == bundle.manifest.mask_classes
    monkeypatch.setattr(judged_images, "_PIXELS_OF_BATCH", 10 * SIZE[0] * SIZE[1])
    an.reestimate(bundle, train, augmentation=None)
    assert sizes == [48, 48, 10]


# --- the command line ------------------------------------------------------------------------------------


def test_evaluate_equals_the_report_of_training(trained, capsys, tmp_path):
    report = json_of(capsys, "evaluate", str(trained), "--trained-data", "--json")
    assert report == json.loads((trained / "report.json").read_text())
    arguments = ["--split", "val", "--per-class", "--out", str(tmp_path), "--figure", str(tmp_path / "a.png")]
    assert run(["evaluate", str(trained), "--trained-data", *arguments]) == 0
    out = capsys.readouterr().out
    assert "mean IoU %" in out
    assert "intersection over union in % of each class:" in out
    assert json.loads((tmp_path / "report.json").read_text())["split"] == "val"
    assert (tmp_path / "a.png").exists()


def test_predict_tells_the_shares_and_writes_the_masks_of_every_stage(trained, folder, capsys, tmp_path):
    image = str(folder / "test" / "images" / "0.png")
    record = json_of(capsys, "predict", str(trained), image, "--stage", "2", "--json")
    assert set(record) == {"image", "shares", "stage", "macs", "elapsed_ms"}
    assert record["stage"] == 2
    assert run(["predict", str(trained), image, "--out", str(tmp_path)]) == 0
    assert "sky" in capsys.readouterr().out
    assert len(list(tmp_path.glob("0-stage-*.png"))) == 4


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["evaluate", "RUN", "--budgeted"], "--budgeted is for labels of whole images"),
        (["evaluate", "RUN", "--ensemble", "mean"], "--ensemble is for labels of whole images"),
        (["evaluate", "RUN", "--save-outputs", "x.safetensors"], "--save-outputs is for labels"),
        (["evaluate", "RUN", "--target-accuracy", "0"], "--target-accuracy is for labels"),
        (["evaluate", "RUN", "--exit-cost", "msd", "--figure", "x.png"], "--exit-cost is for labels"),
        (["predict", "RUN", "a/x.png", "b/x.jpg", "--out", "x"], "a/x.png and b/x.jpg would have the same"),
        (["evaluate", "RUN", "--data", "digits"], "segmentation bundle, and digits has no masks"),
        (["compare", "RUN", "--value", "error", "--out", "x.png"], "a mean IoU and no error"),
        (["predict", "RUN", "x.png", "--out", "x", "--stage", "1"], "leave --stage and --budget-macs out"),
        (
            ["train", "segmentation", "--data", "masks:FOLDER", "--out", "NEW", "--alone"],
            "train without --alone",
        ),
        (
            ["train", "segmentation", "--data", "masks:FOLDER", "--out", "NEW", "--cutmix", "1"],
            "leave them out",
        ),
        (
            ["train", "segmentation", "--data", "masks:FOLDER", "--out", "NEW", "--cutout", "4"],
            "leave them out",
        ),
        (
            ["train", "segmentation", "--data", "masks:FOLDER", "--out", "NEW", "--image-size", "big"],
            "such as 96x128",
        ),
        (["train", "segmentation", "--out", "NEW"], "--data camvid:PATH or --data masks:PATH"),
        (["train", "digits", "--data", "masks:FOLDER", "--out", "NEW"], "take a segmentation net"),
    ],
)
def test_what_label_maps_cannot_do_is_said_in_one_line(trained, folder, tmp_path, capsys, arguments, why):
    places = {"RUN": str(trained), "masks:FOLDER": f"masks:{folder}", "NEW": str(tmp_path / "new")}
    assert why in error_of(capsys, *(places.get(word, word) for word in arguments))


def test_other_verbs_know_the_bundle(trained, tmp_path, capsys):
    assert json_of(capsys, "info", str(trained), "--json")["input_shape"] == [3, *SIZE]
    assert run(["reestimate", str(trained), "--trained-data", "--out", str(tmp_path / "again")]) == 0
    again = an.load(tmp_path / "again")
    assert again.manifest.mask_classes.names == tuple(COLOURS)
    assert all(stage.val_accuracy > 0.3 for stage in again.manifest.stages)
    assert run(["profile", str(tmp_path / "again"), "--minutes", "0.02"]) == 0
    assert run(["evaluate", str(tmp_path / "again"), "--trained-data"]) == 0
    assert "median ms" in capsys.readouterr().out


def test_several_seeds_are_reported_with_their_spread(folder, tmp_path, capsys):
    out = tmp_path / "seeds"
    assert run(words(folder, out, "--seeds", "1,2", "--epochs", "1")) == 0
    assert "sd of 2 runs" in capsys.readouterr().out
    spread = json.loads((out / "spread.json").read_text())
    assert spread["runs"] == 2
    assert spread["stages"][0]["mean_iou"]["sd"] > 0


def test_a_net_of_other_classes_is_a_start(folder, trained, tmp_path):
    other = tmp_path / "two"
    for part in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (other / part / kind).mkdir(parents=True)
        for i in range(8):
            image, mask = street(np.random.default_rng(i), *SIZE)
            Image.fromarray(image).save(other / part / "images" / f"{i}.png")
            Image.fromarray(np.minimum(mask, 1)).save(other / part / "masks" / f"{i}.png")
    (other / "classes.json").write_text('["sky", "ground"]')
    assert run(words(other, tmp_path / "run", "--init", str(trained), "--epochs", "1")) == 0


# --- resuming, several processes -------------------------------------------------------------------------


class PowerCutError(BaseException):
    """Stands for a power cut."""


def weights(folder: Path) -> dict[tuple[str, str], Any]:
    shards = sorted((folder / "bundle").glob("model-*.safetensors"))
    assert shards
    return {(shard.name, name): array for shard in shards for name, array in load_file(shard).items()}


def test_a_run_that_is_cut_off_resumes_to_equal_weights(folder, tmp_path, monkeypatch):
    more = ("--epochs", "2", "--checkpoint-steps", "2", "--precision", "bf16")
    assert run(words(folder, tmp_path / "whole", *more)) == 0
    step = TrainingStep.take

    def cut(self, x, labels, position):
        if position.step == 9:
            raise PowerCutError
        return step(self, x, labels, position)

    monkeypatch.setattr(TrainingStep, "take", cut)
    with pytest.raises(PowerCutError):
        run(words(folder, tmp_path / "cut", *more))
    monkeypatch.setattr(TrainingStep, "take", step)
    torch.manual_seed(99)
    assert run(words(folder, tmp_path / "cut", *more, "--resume")) == 0
    ours, expected = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert ours.keys() == expected.keys()
    assert all((ours[key] == expected[key]).all() for key in expected)
    assert (tmp_path / "cut" / "report.csv").read_text() == (tmp_path / "whole" / "report.csv").read_text()


def test_a_run_is_not_resumed_with_other_masks(folder, tmp_path, capsys):
    data, out = Path(shutil.copytree(folder, tmp_path / "streets")), tmp_path / "run"
    assert run(words(data, out, "--epochs", "1")) == 0
    image = data / "train" / "masks" / "0.png"
    Image.fromarray(np.full((32, 48), 1, np.uint8)).save(image)
    assert "the images or their split changed" in error_of(
        capsys, *words(data, out, "--epochs", "1", "--resume")
    )


def test_a_run_is_not_resumed_with_other_class_weights(folder, tmp_path):
    splits = load_data(f"masks:{folder}", DataOptions(image_size=SIZE, limit=8))
    config = an.TrainConfig(epochs=1, batch_size=4, device="cpu")

    def fit(weights, resume):
        task = an.Segmentation((3,), class_weights=weights)
        return an.fit(
            an.create_net("fcn_exits_tiny", 3), splits, config=config, task=task, out=tmp_path, resume=resume
        )

    fit((1, 1, 4), resume=False)
    assert fit((1, 1, 4), resume=True).num_stages == 4
    with pytest.raises(
        TrainingError, match=r"task class_weights was \[1.0, 1.0, 4.0\], is \[1.0, 1.0, 2.0\]"
    ):
        fit((1, 1, 2), resume=True)


@pytest.mark.slow
def test_two_processes_train_together_and_count_all_pixels(folder, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "anytimenet",
            *words(folder, tmp_path / "two", "--devices", "2", "--epochs", "2"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::UserWarning"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    bundle = an.load(tmp_path / "two")
    one = an.evaluate(bundle, split="val", trust_paths=True)
    told = [stage.val_accuracy for stage in bundle.manifest.stages]
    assert told == pytest.approx([stage.mean_iou for stage in one.stages], abs=1e-4)


@pytest.mark.slow
def test_camvid_is_learnt_a_little_in_one_epoch(shared_data, tmp_path):
    if not (shared_data / "camvid.zip").exists():
        pytest.skip("camvid.zip is not among the real images")
    unpack = [sys.executable, str(shared_data / "unpack.py"), "camvid", str(tmp_path / "camvid")]
    subprocess.run(unpack, check=True, capture_output=True)
    arguments = [
        "train",
        "segmentation",
        "--data",
        f"camvid:{tmp_path / 'camvid'}",
        "--net",
        "fcn_exits_tiny",
    ]
    arguments += ["--image-size", "48x64", "--epochs", "4", "--batch-size", "8", "--quiet"]
    assert run([*arguments, "--out", str(tmp_path / "run")]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["count"] == 233
    # Everything called road, the most frequent class, would be right on about 31 % of the pixels.
    assert all(stage["pixel_accuracy"] > 0.45 for stage in report["stages"])
