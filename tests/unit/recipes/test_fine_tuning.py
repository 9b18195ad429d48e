"""Training from trained weights on the command line: what it sets, what flags override, what it looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anytimenet.bundle import Bundle
from anytimenet.cli.main import main
from anytimenet.cli.parsing import parse
from anytimenet.cli.train import Train
from anytimenet.core.errors import PretrainedError
from anytimenet.data import DataOptions, LargeImageAugmentation, first_look
from anytimenet.nets import create_net
from anytimenet.recipes import Experiment, StartedExperiment
from anytimenet.recipes.image_budget import IMAGES_OF_112, SIDES, epochs_for, side_for
from anytimenet.recipes.start import Start
from anytimenet.training import TrainConfig, preset
from anytimenet.workflows import fit


def folder(root: Path, sizes: dict[str, list[tuple[int, int]]]) -> Path:
    """Class folders with an image of each size (height, width)."""
    for name, of_class in sizes.items():
        (root / name).mkdir(parents=True)
        for number, (height, width) in enumerate(of_class):
            pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def experiment(*flags: str) -> Experiment:
    command: Any = parse("train", Train, ["folder", *flags])
    found: Experiment = command.experiment()
    return found


def test_the_largest_side_is_taken_that_ten_epochs_and_the_images_allow() -> None:
    for images in (100, 700, 1300, 2000, 3000, 20_000):
        for short_side in (20, 130, 1000):
            side = side_for(images, short_side)
            larger = [other for other in SIDES if side < other <= max(112, short_side)]
            assert side <= max(112, short_side)
            assert all(images * 10 * (other / 112) ** 2 > IMAGES_OF_112 for other in larger)
            assert side == 112 or images * 10 * (side / 112) ** 2 <= IMAGES_OF_112
            assert 3 <= epochs_for(images, side) <= 30


def test_a_first_look_counts_what_will_train_and_reads_sizes_alone(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", {"cat": [(30, 50)] * 10, "dog": [(60, 40)] * 10})
    (root / "cat" / "broken.png").write_bytes(b"no image")
    whole = first_look(root, DataOptions())
    assert (whole.images, whole.short_side) == (round(21 * 0.7 * 0.9), 35)
    assert first_look(root, DataOptions(images_per_class=3)).images == 6
    assert first_look(root, DataOptions(limit=5)).images == 5
    parted = tmp_path / "parted"
    folder(parted / "train", {"cat": [(9, 9)] * 4, "dog": [(9, 9)] * 4})
    folder(parted / "test", {"cat": [(9, 9)], "dog": [(9, 9)]})
    assert first_look(parted, DataOptions(val_fraction=0.25)).images == 6


def test_pretrained_takes_the_preset_and_the_size_that_the_data_allows(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", {"cat": [(150, 200)] * 8, "dog": [(170, 160)] * 8})
    flags = ["--data", f"folder:{root}", "--net", "efficientnet_lite0", "--pretrained"]
    found = experiment(*flags)
    assert found.pretrained
    assert found.config == preset("pretrained")
    assert found.options.image_size == 144
    assert found.augmentation == LargeImageAugmentation(area=(0.35, 1.0))
    assert found.images_seen == IMAGES_OF_112
    given = experiment(*flags, "--image-size", "64", "--epochs", "2", "--regime", "joint", "--flip", "no")
    assert (given.options.image_size, given.config.epochs, given.images_seen) == (64, 2, None)
    assert (given.config.regime, given.config.lr) == ("joint", preset("pretrained").lr)
    assert not given.augmentation.flip
    assert experiment(*flags, "--preset", "fast").config.regime == "joint"


def test_a_net_without_weights_is_refused_with_those_that_have_some(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--data", "folder:nowhere", "--net", "isresnext_small", "--pretrained"]
    with pytest.raises(PretrainedError, match=r"there are some for efficientnet_lite0"):
        experiment(*flags)
    with pytest.raises(SystemExit):
        main(["train", "folder", *flags])
    assert "no pretrained weights for isresnext_small" in capsys.readouterr().err


def test_epochs_follow_from_the_images_that_train_and_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "photos", {"cat": [(8, 8)] * 10, "dog": [(8, 8)] * 10})
    start = Start.of(
        Experiment(f"folder:{root}", "plain_chain_tiny", options=DataOptions(image_size=8), images_seen=1)
    )
    assert start.experiment.config.epochs == epochs_for(13, 8, budget=1) == 15
    assert start.experiment.images_seen is None
    assert "13 training images of 8x8 pixels, 15 epochs" in capsys.readouterr().err


def test_a_bundle_of_other_classes_is_fine_tuned_and_one_of_the_same_is_not(tmp_path: Path) -> None:
    two = folder(tmp_path / "two", {"cat": [(8, 8)] * 9, "dog": [(8, 8)] * 9})
    three = folder(tmp_path / "three", {"cat": [(8, 8)] * 9, "dog": [(8, 8)] * 9, "owl": [(8, 8)] * 9})
    config = TrainConfig(epochs=1, batch_size=8, statistics="running", schedule="cosine")
    bundle = fit(create_net("plain_chain_tiny", 2), two, config=config)
    bundle.save(tmp_path / "bundle")
    flags = ["--net", "plain_chain_tiny", "--init", str(tmp_path / "bundle")]
    other = experiment("--data", f"folder:{three}", *flags)
    assert other.config.regime == "mixed"
    assert experiment("--data", f"folder:{three}", *flags, "--regime", "joint").config.regime == "joint"
    assert experiment("--data", f"folder:{two}", *flags).config.regime == "joint"
    tuned = fit(create_net("plain_chain_tiny", 3), three, init=Bundle.load(tmp_path / "bundle"))
    assert tuned.manifest.provenance["config"]["regime"] == "mixed"
    assert tuned.manifest.preprocessing == bundle.manifest.preprocessing


def test_a_bundle_is_started_from_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "three", {name: [(8, 8)] * 9 for name in ("cat", "dog", "owl")})
    items = [(np.full((8, 8, 3), 9 * i, np.uint8), i % 2) for i in range(20)]
    config = TrainConfig(epochs=1, batch_size=8, statistics="running", schedule="cosine")
    before = fit(create_net("plain_chain_tiny", 2), items, config=config)
    before.save(tmp_path / "bundle")
    asked: list[str] = []

    def fetched(url: str, *_: object) -> Path:
        asked.append(url)
        return tmp_path / "bundle"

    monkeypatch.setattr("anytimenet.bundle.loading.fetched", fetched)
    url = "https://example.org/nets/pets"
    wanted = experiment("--data", f"folder:{root}", "--net", "plain_chain_tiny", "--init", url)
    assert wanted.config.regime == "mixed"
    start = Start.of(wanted, init=url)
    weight = "blocks.0.block1.conv.weight"
    assert start.net.state_dict()[weight].equal(before.net.state_dict()[weight])
    assert start.splits.preprocessing.mean == before.manifest.preprocessing.mean
    assert set(asked) == {url}
    StartedExperiment(wanted, "folder", url).write(tmp_path / "experiment.json")
    assert StartedExperiment.read(tmp_path / "experiment.json").init == url
