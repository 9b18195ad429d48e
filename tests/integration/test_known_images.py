"""What a bundle is judged on: its held-out images wherever they lie, all of a new folder, no secret paths."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.core.errors import BundleError, DataError
from anytimenet.data import splits_from_datasets
from anytimenet.workflows.images import images_for
from anytimenet.workflows.reading import Reading

CONFIG = an.TrainConfig(epochs=1, batch_size=16, seed=5, device="cpu")
OPTIONS = an.DataOptions(image_size=8, seed=5, val_fraction=0.2)
COUNTS = {"train": 34, "val": 8, "test": 18}


def picture(seed: int, label: int, size: int = 8) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 90, (size, size, 3), dtype=np.uint8)
    pixels[..., label % 3] += 120
    return pixels


def write(root: Path, counts: dict[str, int], start: int = 0) -> Path:
    for label, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(picture(1000 * label + i + start, label)).save(root / name / f"{i + start}.png")
    return root


def net(classes: int = 2) -> an.AnytimeNet:
    torch.manual_seed(0)
    return an.create_net("isresnext_tiny", num_classes=classes)


@pytest.fixture(scope="module")
def pets(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "pets", {"cat": 30, "dog": 30})


@pytest.fixture(scope="module")
def fitted(pets) -> an.Bundle:
    return an.fit(net(), an.load_data(f"folder:{pets}", OPTIONS), config=CONFIG)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory) -> Path:
    path: Path = fitted.save(tmp_path_factory.mktemp("saved") / "bundle")
    return path


@pytest.fixture
def bundle(saved) -> an.Bundle:
    """As it comes from a folder: nothing says that this process made it."""
    return an.load(saved)


def pixels_of(images) -> set[bytes]:
    return {image.tobytes() for image in images.images}


def parts_of(bundle: an.Bundle, data, **options) -> dict[str, set[bytes]]:
    return {part: pixels_of(images_for(Reading(bundle, data, **options), part)[0]) for part in COUNTS}


# --- the same images ------------------------------------------------------------------------------------


def test_every_spelling_and_every_copy_gives_the_parts_of_the_training(bundle, pets, tmp_path, monkeypatch):
    told = parts_of(bundle, None, trust_paths=True)
    assert {part: len(images) for part, images in told.items()} == COUNTS
    shutil.copytree(pets, tmp_path / "copy")
    (tmp_path / "link").symlink_to(pets)
    monkeypatch.chdir(pets.parent)
    names = [pets, f"{pets}/", "pets", "./pets", "../data0/pets", tmp_path / "copy", tmp_path / "link"]
    names[4] = os.path.join("..", pets.parent.name, "pets")
    for name in names:
        assert parts_of(bundle, f"folder:{name}") == told, name


def test_renamed_images_are_known_by_what_they_show(bundle, pets, tmp_path):
    told = parts_of(bundle, None, trust_paths=True)
    for path in pets.glob("*/*.png"):
        new = tmp_path / "photos" / path.parent.name / f"holiday-{path.stem}.bmp"
        new.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(new)
    assert parts_of(bundle, f"folder:{tmp_path / 'photos'}") == told


def test_another_split_of_the_same_images_loses_those_that_were_trained_on(bundle, pets, caplog):
    told = parts_of(bundle, None, trust_paths=True)
    other = an.load_data(
        f"folder:{pets}", an.DataOptions(image_size=8, seed=9, split_seed=4, val_fraction=0.2)
    )
    for part in ("val", "test"):
        assert pixels_of(getattr(other, part)) & told["train"]
        judged = pixels_of(images_for(Reading(bundle, other), part)[0])
        assert judged
        assert not judged & told["train"]
    assert not pixels_of(images_for(Reading(bundle, other), "test")[0]) & told["val"]
    assert "that the bundle was trained on" in caplog.text
    assert "are left out" in caplog.text
    assert an.evaluate(bundle, other, split="train").count == len(other.train)


def test_new_images_beside_old_ones_are_judged_and_the_old_ones_told(bundle, pets, tmp_path, caplog):
    shutil.copytree(pets, tmp_path / "more")
    for i in range(5):
        Image.fromarray(picture(9000 + i, 0)).save(tmp_path / "more" / "cat" / f"new-{i}.png")
    report = an.evaluate(bundle, f"folder:{tmp_path / 'more'}")
    assert (report.count, report.split) == (COUNTS["test"] + 5, "test")
    assert (
        "34 that the bundle was trained on and 8 that its weights were chosen by of 65 images" in caplog.text
    )


def test_nothing_but_training_images_is_refused(bundle, pets):
    train = an.load_data(f"folder:{pets}", OPTIONS).train
    with pytest.raises(
        DataError, match="holds no image to evaluate: of its 34 there are 34 that the bundle was"
    ):
        an.evaluate(bundle, train)
    assert an.evaluate(bundle, train, split="train").count == 34


def test_datasets_from_python_are_known_again_too():
    items = [(picture(1000 * (i % 2) + i, i % 2), i % 2) for i in range(40)]
    ours = an.fit(net(), items, config=CONFIG)
    splits = splits_from_datasets(items, options=an.DataOptions(seed=5, test_fraction=0))
    assert an.evaluate(ours, items).count == len(splits.val) == 4
    new = [(picture(7000 + i, 0), 0) for i in range(6)]
    assert an.evaluate(ours, items + new).count == 10
    assert an.evaluate(ours, items, split="train").count == 40


def test_a_validation_set_of_ones_own_may_be_judged_by_itself():
    items = [(picture(i, i % 2), i % 2) for i in range(32)]
    val = [(picture(500 + i, i % 2), i % 2) for i in range(8)]
    assert an.evaluate(an.fit(net(), items, val, CONFIG), val).count == 8


def test_images_are_known_in_a_kept_joined_and_reestimated_bundle(bundle, pets, tmp_path):
    shutil.copytree(pets, tmp_path / "copy")
    data = f"folder:{tmp_path / 'copy'}"
    assert an.evaluate(bundle.keep([1, 3]), data).count == COUNTS["test"]
    fresh = an.reestimate(bundle, data, augmentation=None)
    assert an.evaluate(fresh, data).count == COUNTS["test"]
    larger = an.fit(
        an.create_net("resnet_ann_tiny", num_classes=2),
        an.load_data(f"folder:{pets}", OPTIONS),
        config=CONFIG,
    )
    joined = an.join_bundles([larger, bundle])
    assert an.evaluate(joined, data).count == COUNTS["test"]
    joined.save(tmp_path / "joined")
    assert an.evaluate(an.load(tmp_path / "joined"), data).count == COUNTS["test"]


def test_images_that_statistics_were_estimated_from_are_not_judged_afterwards(bundle, tmp_path):
    new = f"folder:{write(tmp_path / 'new', {'cat': 20, 'dog': 20}, start=600)}"
    fresh = an.reestimate(bundle, new, augmentation=None)
    assert fresh.accuracies != bundle.accuracies
    assert an.evaluate(bundle, new).count == 40
    assert an.evaluate(fresh, new).count == len(an.load_data(new).test)


def test_a_bundle_without_fingerprints_knows_an_unchanged_copy(fitted, pets, tmp_path, caplog):
    fitted.save(tmp_path / "old")
    old = an.load(tmp_path / "old")
    old.seen = None
    told = parts_of(old, None, trust_paths=True)
    shutil.copytree(pets, tmp_path / "copy")
    assert parts_of(old, f"folder:{tmp_path / 'copy'}") == told
    assert parts_of(old, f"folder:{pets}/") == told
    assert not caplog.text
    Image.fromarray(picture(9000, 0)).save(tmp_path / "copy" / "cat" / "new.png")
    assert an.evaluate(old, f"folder:{tmp_path / 'copy'}").count == 61


def test_a_bundle_whose_fingerprints_were_left_behind_loads_and_damaged_ones_are_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "bundle")
    file = tmp_path / "bundle" / "images.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"images\.safetensors"):
        an.load(tmp_path / "bundle")
    file.unlink()
    assert an.load(tmp_path / "bundle").seen is None


# --- all of a folder ------------------------------------------------------------------------------------


def test_all_images_of_a_new_folder_are_judged(bundle, tmp_path, capsys, saved):
    new = write(tmp_path / "new", {"cat": 20, "dog": 20}, start=600)
    one = write(tmp_path / "one", {"dog": 7}, start=800)
    held = write(tmp_path / "held" / "test", {"cat": 6, "dog": 6}, start=700).parent
    for root, count, split in ((new, 40, "all"), (one, 7, "all"), (held, 12, "test")):
        report = an.evaluate(bundle, f"folder:{root}")
        assert (report.count, report.split) == (count, split)
    # Labels are the bundle's, whatever classes are there: `dog` is its second.
    images = images_for(Reading(bundle, f"folder:{one}"), "test")[0]
    assert set(images.labels[:, 0].tolist()) == {1}
    assert run(["evaluate", str(saved), "--data", f"folder:{new}"]) == 0
    assert capsys.readouterr().out.startswith(f"40 images of folder:{new}\n")


def test_what_a_folder_lacks_is_said(bundle, tmp_path):
    new = write(tmp_path / "new", {"cat": 3, "dog": 3}, start=600)
    with pytest.raises(
        DataError, match="has no val part, it has no parts: all of it is evaluated as split='test'"
    ):
        an.evaluate(bundle, f"folder:{new}", split="val")
    with pytest.raises(DataError, match="has no val part"):
        an.evaluate_budgeted(bundle, f"folder:{new}")
    split = write(tmp_path / "parts" / "train", {"cat": 3}, start=600).parent
    with pytest.raises(DataError, match="has no test part, it has train alone"):
        an.evaluate(bundle, f"folder:{split}")
    assert an.evaluate(bundle, f"folder:{split}", split="train").count == 3
    write(new, {"cow": 2}, start=900)
    with pytest.raises(DataError, match=r"not those that the bundle knows: 'cow' is none of its 2 classes"):
        an.evaluate(bundle, f"folder:{new}")
    with pytest.raises(DataError, match="does not exist"):
        an.evaluate(bundle, f"folder:{tmp_path / 'nowhere'}")


def test_a_budgeted_batch_solves_on_the_known_validation_images_of_a_copy(bundle, pets, tmp_path):
    shutil.copytree(pets, tmp_path / "copy")
    found = an.evaluate_budgeted(bundle, f"folder:{tmp_path / 'copy'}")
    assert (found.val_count, found.count) == (COUNTS["val"], COUNTS["test"])


# --- classes by name ------------------------------------------------------------------------------------


class Named(list[Any]):
    """A dataset that names its classes."""

    classes: list[str]


@pytest.mark.parametrize("classes", [["blue", "green", "red"], ["green", "red"], ["red", "blue", "green"]])
def test_classes_of_what_is_judged_are_matched_by_name(classes):
    colours = ["blue", "green", "red"]

    def pictures(names: list[str], start: int) -> Named:
        found = Named(
            (picture(start + i, colours.index(name)), label)
            for label, name in enumerate(names)
            for i in range(6)
        )
        found.classes = names
        return found

    ours = an.fit(net(3), pictures(colours, 0), config=CONFIG)
    given = pictures(classes, 300)
    images = images_for(Reading(ours, given), "test")[0]
    assert [colours[label] for label in images.labels[:, 0]] == [classes[label] for _, label in given]
    splits = splits_from_datasets(pictures(classes, 300), options=an.DataOptions(seed=1))
    judged = images_for(Reading(ours, splits), "test")[0]
    wanted = [classes[label] for label in splits.test.labels[:, 0]]
    assert [colours[label] for label in judged.labels[:, 0]] == wanted
    given.classes = ["pink", *classes[1:]]
    with pytest.raises(DataError, match="pink"):
        an.evaluate(ours, given)


# --- whose word counts ----------------------------------------------------------------------------------


def test_a_path_of_a_bundle_is_followed_only_where_its_user_says_so(bundle, fitted, saved, capsys):
    with pytest.raises(DataError, match=r"'folder:.*pets'.* give trust_paths=True"):
        an.evaluate(bundle)
    for verb in (an.collect_outputs, an.evaluate_budgeted, an.reestimate):
        with pytest.raises(DataError, match="trust_paths=True"):
            verb(bundle)
    assert an.evaluate(bundle, trust_paths=True).count == COUNTS["test"]
    assert an.evaluate(fitted).count == COUNTS["test"]
    assert an.evaluate(fitted.keep([1])).count == COUNTS["test"]
    assert run(["evaluate", str(saved)]) == 1
    assert "is not followed by itself" in capsys.readouterr().err
    assert run(["evaluate", str(saved), "--trained-data"]) == 0


def told(bundle: an.Bundle, data: object) -> an.Bundle:
    """The bundle with another note of its data."""
    from dataclasses import replace

    manifest = replace(bundle.manifest, provenance={**bundle.manifest.provenance, "data": data})
    return an.Bundle(bundle.net, manifest, seen=bundle.seen)


def test_options_of_this_machine_never_come_from_a_bundle(digits, tmp_path, caplog):
    place = tmp_path / "place"
    options = {
        **digits.manifest.provenance["data"]["options"],
        "cache_dir": str(place),
        "data_root": str(place),
        "download": True,
    }
    hostile = told(digits, {"name": "digits", "options": options})
    assert an.evaluate(hostile).count == 539
    assert not place.exists()
    assert "is not followed" in caplog.text
    secret = tmp_path / "secret.json"
    secret.write_text('{"0": "round"}')
    hostile = told(digits, {"name": "digits", "options": {"taxonomy": str(secret)}})
    with pytest.raises(DataError, match="taxonomy is a path"):
        an.evaluate(hostile)


@pytest.fixture(scope="module")
def digits() -> an.Bundle:
    torch.manual_seed(0)
    ours = an.create_net("isresnext_tiny", num_classes=10, in_channels=1)
    return an.fit(ours, "digits", config=CONFIG)


@pytest.mark.parametrize(
    "data",
    [
        *(3, "digits", [], True),
        *({"name": 3, "options": {}}, {"name": None, "options": {}}, {"name": [], "options": {"seed": 1}}),
        *({"name": "digits", "options": value} for value in (3, "seed", [1], True)),
        {"name": "digits", "options": {"mosaic": 1}},
        *(
            {"name": "digits", "options": {name: value}}
            for name in an.DataOptions.__dataclass_fields__
            if name not in ("cache_dir", "data_root", "download", "skip_bad", "in_memory", "all_levels")
            for value in ({"a": 1}, "x")
        ),
        {"name": "nowhere", "options": {}},
        {"name": "", "options": {}},
        {"options": {}},
        {"name": "digits"},
        {},
    ],
    ids=str,
)
def test_a_note_of_the_data_that_nobody_understands_is_named_and_never_trips(digits, data):
    strange = told(digits, data)
    with pytest.raises(DataError):
        an.evaluate(strange)
    with pytest.raises(DataError):
        an.reestimate(strange)
    assert an.evaluate(strange, "digits").count > 0


@pytest.mark.parametrize("augmentation", [3, "flip", [1], {"mosaic": 1}, {"flip": "no", "area": 3}])
def test_an_augmentation_that_nobody_understands_is_named(digits, augmentation):
    from dataclasses import replace

    for key, value in (("augmentation", augmentation), ("experiment", {"augmentation": augmentation})):
        rest = {k: v for k, v in digits.manifest.provenance.items() if k != "augmentation"}
        manifest = replace(digits.manifest, provenance={**rest, key: value})
        with pytest.raises((ValueError, TypeError), match="augmentation"):
            an.reestimate(an.Bundle(digits.net, manifest), "digits")


def test_strange_notes_do_not_trip_joining(digits):
    torch.manual_seed(0)
    larger = an.fit(an.create_net("resnet_ann_tiny", 10, in_channels=1), "digits", config=CONFIG)
    for data in (3, [], {"name": 3, "options": 4}, {"name": "digits", "options": {"mosaic": 1}}, {}, None):
        joined = an.join_bundles([told(digits, data), told(larger, data)])
        assert joined.num_stages == 6
        joined = an.join_bundles([told(digits, data), larger])
        with pytest.raises(DataError):
            an.evaluate(joined)


def test_reports_tell_the_device_that_auto_took(digits):
    here = "cuda" if torch.cuda.is_available() else "cpu"
    report = an.evaluate(digits)
    assert report.device == here
    assert an.Report.from_dict(report.to_dict()) == report
    assert an.collect_outputs(digits).device == here
    assert an.reestimate(digits, augmentation=None).manifest.provenance["reestimated"]["device"] == here
    with pytest.raises(ValueError, match="device must be"):
        an.evaluate(digits, device="gpu")
    with pytest.raises(TypeError, match="device must be text"):
        an.profile(digits, device=3)


def test_reports_and_bundles_are_short_and_have_tables_for_notebooks(digits):
    report = an.evaluate(digits, per_class=True)
    assert len(repr(report)) < 200
    assert report._repr_html_().count("<tr>") == 4
    assert report.curve()._repr_html_().count("<tr>") == 4
    assert digits._repr_html_().count("<tr>") == 4
    assert len(repr(an.collect_outputs(digits))) < 200
