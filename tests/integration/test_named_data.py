"""Data by name from the command line: trained on, found again elsewhere, listed."""

from __future__ import annotations

import gzip
import json
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from anytimenet.cli.main import run
from anytimenet.data import DataOptions, load_data
from anytimenet.data.sources.named.catalogue import MNIST


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """A hundred noisy digits in the published form: class c has a light row c."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, count in (("train", 120), ("t10k", 40)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        images[np.arange(count), 2 * labels.astype(int) + 4] = 250
        for array in (images, labels):
            (name,) = [n for n in MNIST.forms[0].files if n.startswith(part) and f"idx{array.ndim}" in n]
            header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (root / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return root


@pytest.fixture(scope="module")
def trained(data_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    arguments = [
        "train",
        "digits",
        "--data",
        "mnist",
        "--data-root",
        str(data_root),
        "--net",
        "isresnext_tiny",
    ]
    arguments += ["--epochs", "2", "--images-per-class", "8", "--quiet", "--out", str(out)]
    assert run(arguments) == 0
    return out


def test_training_takes_the_presets_and_stores_no_path_of_this_machine(trained, data_root):
    bundle = json.loads((trained / "bundle" / "bundle.json").read_text())
    assert bundle["preprocessing"]["mean"] == [0.1307]
    data = bundle["provenance"]["data"]
    assert data["name"] == "mnist"
    assert data["options"]["images_per_class"] == 8
    assert data["options"]["val_fraction"] == 5000 / 60000
    for told in (trained / "bundle" / "bundle.json", trained / "experiment.json", trained / "summary.txt"):
        assert str(data_root) not in told.read_text()
        assert "download" not in told.read_text()
    assert "is on 80 images" not in told.read_text()
    assert "80 images of mnist (10 classes), chosen on 10 validation images" in told.read_text()


@pytest.mark.parametrize("told", ["flag", "environment", "folder"])
def test_a_bundle_finds_its_data_again(trained, data_root, told, monkeypatch, tmp_path, capsys):
    """Whichever way the root is told, the same images are judged as in training."""
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", str(trained), "--json"]
    if told == "flag":
        arguments += ["--data-root", str(data_root)]
    elif told == "environment":
        monkeypatch.setenv("ANYTIMENET_DATA", str(data_root))
    else:
        (tmp_path / "data").symlink_to(data_root)
    capsys.readouterr()
    assert run(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["stages"] == json.loads((trained / "report.json").read_text())["stages"]
    assert report["count"] == 40


def test_a_bundle_whose_data_is_not_there_says_where_it_was_looked_for(
    trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANYTIMENET_DATA", raising=False)
    assert run(["evaluate", str(trained)]) == 1
    assert "--data-root" in capsys.readouterr().err


def test_without_validation_images_the_last_weights_stay(data_root, tmp_path):
    arguments = ["train", "digits", "--data", "mnist", "--data-root", str(data_root), "--net", "resnet_tiny"]
    arguments += ["--epochs", "1", "--val-fraction", "0", "--quiet", "--out", str(tmp_path / "run")]
    assert run(arguments) == 0
    assert "120 images of mnist (10 classes), left as it ended" in (tmp_path / "run/summary.txt").read_text()
    bundle = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    assert bundle["provenance"]["data"]["options"]["val_fraction"] == 0
    assert all(stage.get("val_accuracy") is None for stage in bundle["stages"])


def test_options_of_older_bundles_give_the_splits_they_gave():
    stored = {
        "image_size": None,
        "channels": None,
        "resample": "bilinear",
        "seed": 0,
        "split_seed": 0,
        "val_fraction": 0.1,
        "test_fraction": 0.3,
        "limit": None,
        "skip_bad": False,
        "all_levels": False,
    }
    old = load_data("digits", DataOptions(**stored))
    assert old.fingerprint == load_data("digits").fingerprint
    # What version 1 computed for the digits; a change would break every stored bundle's evaluation.
    assert old.fingerprint[:16] == "46e9efffd298f150"
    assert set(DataOptions().to_dict()) == {f.name for f in fields(DataOptions)} - {
        "cache_dir",
        "data_root",
        "download",
    }


@pytest.mark.parametrize("kind", ["imagenet", "cub"])
def test_files_that_moved_are_the_same_data(kind, tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = []
    for i in range(24):
        wnid, part = f"n0000000{i % 2}", "val" if i % 4 > 1 else "train"
        name = f"{part}/{wnid}/{i}.JPEG" if kind == "imagenet" else f"images/00{i % 2 + 1}.x/{i}.jpg"
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path, format="JPEG")
        images.append((i + 1, name.removeprefix("images/"), i % 2 + 1, int(part == "train")))
    if kind == "cub":
        for text, column in (("images", 1), ("image_class_labels", 2), ("train_test_split", 3)):
            lines = "".join(f"{row[0]} {row[column]}\n" for row in images)
            (tmp_path / "here" / f"{text}.txt").write_text(lines)
        (tmp_path / "here" / "classes.txt").write_text("1 001.x\n2 002.x\n")
    out = tmp_path / "run"
    arguments = ["train", "digits", "--data", f"{kind}:{tmp_path / 'here'}", "--net", "resnet_tiny"]
    arguments += ["--image-size", "14", "--epochs", "1", "--batch-size", "4", "--val-fraction", "0.2"]
    assert run([*arguments, "--quiet", "--out", str(out)]) == 0
    bundle = json.loads((out / "bundle" / "bundle.json").read_text())
    assert bundle["preprocessing"]["shorter_side"] == 16
    (tmp_path / "here").rename(tmp_path / "there")
    reports = {}
    for split in ("test", "val"):
        capsys.readouterr()
        moved = ["--data", f"{kind}:{tmp_path / 'there'}", "--split", split]
        assert run(["evaluate", str(out), *moved, "--json"]) == 0
        reports[split] = json.loads(capsys.readouterr().out)
    assert reports["test"]["stages"] == json.loads((out / "report.json").read_text())["stages"]
    assert reports["val"]["count"] == 2


def test_every_name_is_listed_with_its_counts(capsys):
    assert run(["list", "data", "--json"]) == 0
    listed = {entry["name"]: entry for entry in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(listed) == [
        "digits",
        "cifar10",
        "cifar100",
        "fashion_mnist",
        "mnist",
        "folder:PATH",
        "imagenet:PATH",
        "cub:PATH",
        "camvid:PATH",
        "masks:PATH",
    ]
    counts = ("train_images", "held_out", "test_images", "image_size")
    assert [listed["cub:PATH"][key] for key in counts] == [5994, 1000, 5794, 224]
    assert [listed["imagenet:PATH"][key] for key in counts] == [1_281_167, 50_000, 50_000, 224]
    digits = load_data("digits")
    assert listed["digits"]["train_images"] == len(digits.train) + len(digits.val)
    assert listed["digits"]["held_out"] == len(digits.val)
    assert run(["list", "data", "cifar*"]) == 0
    assert capsys.readouterr().out.count("\n") == 2
