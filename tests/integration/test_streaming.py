"""From image files to a bundle: training, judging and predicting where images are decoded when needed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import anytimenet
from anytimenet import workflows
from anytimenet.cli.parsing import parse
from anytimenet.cli.train import Train
from anytimenet.core.errors import DataError, TrainingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import (
    Augmentation,
    DataSplits,
    ImageFiles,
    LargeImageAugmentation,
    Mixing,
    augmentation_for,
)
from anytimenet.nets import create_net
from anytimenet.training import TrainConfig

# Depends on the machine: Python 3.12 or newer where processes are forked.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

PREPROCESSING = Preprocessing(16, 16, 3, (0.5,) * 3, (0.25,) * 3, shorter_side=18)
CONFIG = TrainConfig(epochs=2, batch_size=8, schedule="cosine", lr=0.05)
AUGMENTATION = LargeImageAugmentation(area=(0.5, 1), colour_jitter=0.2, lighting=0.1, cutout=3)
CLASSES = ("dark", "light")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Dark and light photographs, all files."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    labels = np.arange(48) % 2
    for i, label in enumerate(labels):
        pixels = rng.integers(0, 100, (24 + i % 5, 30 - i % 7, 3)) + 140 * label
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{i}.png")
    files = ImageFiles(root, labels[:, None].astype(np.int64), tuple(f"{i}.png" for i in range(48)))
    parts = (files.subset(np.arange(*bounds)) for bounds in ((0, 32), (32, 40), (40, 48)))
    return DataSplits("photos", *parts, (CLASSES,), None, PREPROCESSING, files.fingerprint, 0)


def fit(splits, **options):
    torch.manual_seed(0)
    net = create_net("resnet_tiny", num_classes=2, in_channels=3)
    settings = {"config": CONFIG, "augmentation": AUGMENTATION, **options}
    return workflows.fit(net, splits, **settings)


def weights(bundle):
    return torch.cat([tensor.flatten().double() for tensor in bundle.net.state_dict().values()])


def test_a_net_learns_from_files_and_predicts_as_it_was_judged(splits, tmp_path):
    bundle = fit(splits, config=replace(CONFIG, epochs=4))
    report = workflows.evaluate(bundle, splits, workers=1)
    assert report.stages[-1].top1 == 1
    bundle.save(tmp_path / "bundle")
    loaded = anytimenet.load(tmp_path / "bundle")
    assert loaded.manifest.preprocessing == PREPROCESSING
    for i, label in enumerate(splits.test.labels[:, 0]):
        assert loaded.predict(splits.test.path(i)).label == CLASSES[label]
    assert workflows.evaluate(loaded, splits.test).stages[-1].top1 == 1


def test_workers_change_no_weight(splits):
    assert torch.equal(weights(fit(splits, workers=0)), weights(fit(splits, workers=2)))


def test_mixing_trains_and_is_part_of_the_run(splits, tmp_path):
    mixing = Mixing(mixup=0.4, cutmix=1.0)
    one_epoch = replace(CONFIG, epochs=1)
    mixed = fit(splits, config=one_epoch, mixing=mixing, out=tmp_path / "run")
    assert not torch.equal(weights(mixed), weights(fit(splits, config=one_epoch)))
    again = fit(splits, config=one_epoch, mixing=mixing, out=tmp_path / "run", resume=True)
    assert torch.equal(weights(again), weights(mixed))
    for other in ({}, {"mixing": mixing, "augmentation": replace(AUGMENTATION, hue=0.1)}):
        with pytest.raises(TrainingError, match=r"mixing|augmentation"):
            fit(splits, config=one_epoch, out=tmp_path / "run", resume=True, **other)


def test_a_file_that_breaks_during_training_is_named(splits, tmp_path):
    for name in splits.train.names:
        (tmp_path / name).write_bytes((splits.train.root / name).read_bytes())
    (tmp_path / "5.png").write_bytes(b"cut off")
    broken = replace(splits, train=ImageFiles(tmp_path, splits.train.labels, splits.train.names))
    with pytest.raises(DataError, match=r"5\.png cannot be read as an image"):
        fit(broken)


def test_augmentations_that_cannot_be_meant_are_refused(splits):
    with pytest.raises(DataError, match="use LargeImageAugmentation"):
        fit(splits, augmentation=Augmentation(pad=2))
    with pytest.raises(ValueError, match="black out whole images"):
        fit(splits, augmentation=LargeImageAugmentation(cutout=16))


def experiment(*flags, recipe="digits"):
    words = [word for name, value in flags for word in (f"--{name.replace('_', '-')}", str(value))]
    return parse("train", Train, [recipe, *words]).experiment()


def test_flags_of_the_command_line_reach_the_experiment():
    plain = experiment()
    assert (plain.mixing, plain.workers) == (None, None)
    assert experiment(("cutout", 3)).augmentation == replace(plain.augmentation, cutout=3)
    mixed = experiment(("mixup", 0.2), ("cutmix", 1.0), ("workers", 3))
    assert (mixed.mixing, mixed.workers) == (Mixing(0.2, 1.0), 3)
    assert experiment(("mixup", 0.0)).mixing is None
    told = json.loads(json.dumps(mixed.to_dict()))
    assert told["mixing"] == {"mixup": 0.2, "cutmix": 1.0}
    assert "workers" not in told  # what comes out is the same


def test_colours_make_the_augmentation_one_of_large_images(splits):
    jittered = experiment(("colour_jitter", 0.4), ("lighting", 0.1), ("flip", "no")).augmentation
    assert jittered == LargeImageAugmentation(flip=False, colour_jitter=0.4, lighting=0.1)
    assert augmentation_for(splits.train, jittered) == jittered
    with pytest.raises(ValueError, match="leave --pad out"):
        experiment(("colour_jitter", 0.4), ("pad", 4))


def test_images_in_memory_are_cropped_at_random_too():
    net = create_net("resnet_tiny", num_classes=10, in_channels=1)
    bundle = workflows.fit(net, "digits", config=CONFIG, augmentation=LargeImageAugmentation(area=(0.5, 1)))
    assert bundle.manifest.provenance["augmentation"]["class"] == "LargeImageAugmentation"
