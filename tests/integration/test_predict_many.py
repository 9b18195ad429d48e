"""Many images: `Bundle.predict_many` and `anytimenet predict` of lists, stacks, folders and patterns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.core.errors import DataError

RGB = an.Preprocessing(8, 8, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def bundle() -> an.Bundle:
    torch.manual_seed(0)
    net = an.create_net("isresnext_tiny", num_classes=3).eval()
    return an.Bundle.create(net, class_names=[["cat", "dog", "oak"]], preprocessing=RGB)


@pytest.fixture(scope="module")
def saved(bundle, tmp_path_factory) -> Path:
    path: Path = bundle.save(tmp_path_factory.mktemp("saved") / "bundle")
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Seven images in two folders, a note, a hidden file and a link back to the beginning."""
    root: Path = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(pixels(7)):
        path = root / ("a" if i % 2 else "b") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"no image")
    (root / "a" / "loop").symlink_to(root)
    return root


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def same(many, ones) -> bool:
    many = list(many)
    return len(many) == len(ones) and all(
        a.labels == b.labels
        and (a.stage, a.macs, a.over_budget) == (b.stage, b.macs, b.over_budget)
        and np.allclose(a.probabilities, b.probabilities, rtol=1e-5, atol=1e-6)
        for a, b in zip(many, ones, strict=True)
    )


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_answers_are_those_of_predict_in_order_whatever_the_batch(bundle, batch_size):
    ones = [bundle.predict(image, stage=2) for image in pixels(7)]
    many = list(bundle.predict_many(pixels(7), stage=2, batch_size=batch_size))
    assert same(many, ones)
    assert [answer.source for answer in many] == list(range(7))
    assert all(answer.error is None and answer.elapsed_ms > 0 for answer in many)


@pytest.mark.parametrize(
    "form",
    [
        list,
        iter,
        lambda p: [Image.fromarray(image) for image in p],
        lambda p: p.transpose(0, 3, 1, 2),
        lambda p: torch.from_numpy(p).permute(0, 3, 1, 2),
        lambda p: [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in p],
        lambda p: torch.from_numpy(RGB.standardise(p)),
        lambda p: RGB.standardise(p),
    ],
    ids=["list", "iterator", "PIL", "NCHW", "tensor", "floats 0..1", "standardised", "standardised array"],
)
def test_every_form_of_many_images_means_the_same(bundle, form):
    ones = [bundle.predict(image) for image in pixels(4)]
    assert same(bundle.predict_many(form(pixels(4))), ones)


def test_a_budget_is_that_of_each_image(bundle):
    costs = bundle.costs
    for budget in (1, costs[1], costs[2]):
        ones = [bundle.predict(image, budget_macs=budget) for image in pixels(3)]
        assert same(bundle.predict_many(pixels(3), budget_macs=budget), ones)


def test_a_folder_and_a_pattern_give_their_files_in_order_each_once(bundle, photos):
    paths = [str(photos / name) for name in ("a/1.png", "a/3.png", "a/5.png")]
    paths += [str(photos / f"b/{i}.png") for i in (0, 2, 4, 6)]
    assert [answer.source for answer in bundle.predict_many(photos)] == paths
    assert [answer.source for answer in bundle.predict_many(f"{photos}/a/*.png")] == paths[:3]
    assert [answer.source for answer in bundle.predict_many(f"{photos}/b/0.png")] == [paths[3]]
    assert same(bundle.predict_many(photos / "b"), [bundle.predict(path) for path in paths[3:]])


def test_a_bad_image_is_answered_by_what_is_wrong_and_the_others_go_on(bundle, photos, tmp_path, caplog):
    (tmp_path / "cut.png").write_bytes((photos / "b/0.png").read_bytes()[:40])
    nan = torch.full((1, 3, 8, 8), float("nan"))
    given = [photos / "b/0.png", tmp_path / "cut.png", "nowhere.png", None, nan, pixels(1)[0]]
    found = list(bundle.predict_many(given, batch_size=4))
    assert [isinstance(answer, an.FailedPrediction) for answer in found] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    assert [answer.source for answer in found[1:]] == [str(tmp_path / "cut.png"), "nowhere.png", 3, 4, 5]
    assert "cannot be read as an image" in found[1].error
    assert found[2].error == "nowhere.png does not exist"
    assert "not a NoneType" in found[3].error
    assert "must be finite" in found[4].error
    left = list(bundle.predict_many(given, batch_size=4, skip_bad=True))
    assert [answer.source for answer in left] == [str(photos / "b/0.png"), 5]
    assert "4 image(s) could not be predicted" in caplog.text


def test_answers_come_before_the_last_image_is_read(bundle):
    read = []

    def images():
        for place, image in enumerate(pixels(6)):
            read.append(place)
            yield image

    answers = bundle.predict_many(images(), batch_size=2)
    assert next(answers).source == 0
    assert read == [0, 1]


@pytest.mark.parametrize(
    ("images", "options", "error", "words"),
    [
        (None, {}, TypeError, "images must be a list"),
        (3, {}, TypeError, "images must be a list"),
        (b"x", {}, TypeError, "images must be a list"),
        ({"a": 1}, {}, TypeError, "images must be a list"),
        (Image.new("RGB", (8, 8)), {}, DataError, "single image"),
        (np.zeros((8, 8, 3), np.uint8), {}, DataError, "single image"),
        (torch.zeros(3, 8, 8), {}, DataError, "single image"),
        (np.zeros(8, np.uint8), {}, DataError, "stack of images has shape"),
        ("nowhere", {}, DataError, "nowhere does not exist"),
        ("nowhere/*.png", {}, DataError, "no file matches the pattern"),
        ([], {"stage": 9}, ValueError, "stage must be from 1 to"),
        ([], {"stage": 1, "budget_macs": 5}, ValueError, "not both"),
        ([], {"batch_size": 0}, ValueError, "batch_size"),
        ([], {"batch_size": "4"}, TypeError, "batch_size"),
        ([], {"skip_bad": "no"}, TypeError, "skip_bad"),
    ],
)
def test_what_is_wrong_with_all_is_refused_at_the_call(bundle, images, options, error, words):
    with pytest.raises(error, match=words):
        bundle.predict_many(images, **options)


def test_an_empty_folder_is_refused_and_an_empty_list_has_no_answers(bundle, tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        bundle.predict_many(tmp_path)
    assert list(bundle.predict_many([])) == []
    assert list(bundle.predict_many(np.zeros((0, 8, 8, 3), np.uint8))) == []


def test_the_command_answers_a_folder_and_a_pattern_in_json_lines(saved, photos, capsys):
    assert run(["predict", str(saved), str(photos), "--stage", "1"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == 7
    assert all(record["stage"] == 1 and Path(record["image"]).is_file() for record in records)
    assert run(["predict", str(saved), f"{photos}/a/*.png", str(photos / "b/0.png")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert run(["predict", str(saved), str(photos / "b/0.png")]) == 0
    assert "by stage 3" in capsys.readouterr().out


def test_the_command_refuses_batches_of_no_image(saved, photos, capsys):
    assert run(["predict", str(saved), str(photos / "b/0.png"), "--batch-size", "0"]) != 0
    assert "--batch-size must be at least 1" in capsys.readouterr().err


def test_one_bad_image_of_many_is_named_and_the_command_fails_at_its_end(saved, photos, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no image")
    images = [str(photos / "b/0.png"), str(tmp_path / "bad.png"), str(photos / "b/2.png")]
    assert run(["predict", str(saved), *images, "--json"]) == 1
    said = capsys.readouterr()
    first, bad, last = (json.loads(line) for line in said.out.splitlines())
    assert (first["image"], last["image"]) == (images[0], images[2])
    assert bad["image"] == images[1]
    assert "cannot be read as an image" in bad["error"]
    assert "bad.png" in said.err
    assert "1 of 3 images could not be predicted" in said.err
    assert run(["predict", str(saved), *images, "--skip-bad", "--json", str(tmp_path / "found.jsonl")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2


def test_a_reader_that_goes_away_ends_the_command_quietly(saved, photos):
    script = "from anytimenet.cli.main import main; main()"
    command = [sys.executable, "-c", script, "predict", str(saved), *[str(photos / "b/0.png")] * 400]
    with subprocess.Popen(
        [*command, "--batch-size", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "by stage" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_bundle_tells_its_classes_accuracies_and_costs(bundle):
    assert bundle.class_names == (("cat", "dog", "oak"),)
    assert bundle.accuracies == (None, None, None)
    assert bundle.costs == tuple(stage.macs for stage in bundle.manifest.stages)
    assert f"<td>{bundle.costs[0]:,}</td>" in bundle._repr_html_()
    assert (
        "&lt;"
        in an.Bundle.create(bundle.net, class_names=[["<b>", "dog", "oak"]], preprocessing=RGB)._repr_html_()
    )
