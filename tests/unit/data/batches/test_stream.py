"""Streamed batches depend on seed, epoch and place alone, whoever decodes them; trouble names the file."""

import functools
import multiprocessing
import os
import signal
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.data
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import (
    Augmentation,
    ImageFiles,
    ImageSet,
    LargeImageAugmentation,
    Loader,
    Mixing,
    Shard,
    StreamLoader,
    augmentation_for,
    make_loader,
)

# Both depend on the machine: few cores, and Python 3.12 or newer where processes are forked.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]

COUNT = 13
PREPROCESSING = Preprocessing(8, 10, 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), shorter_side=12)
TRANSFORM = LargeImageAugmentation(colour_jitter=0.4, lighting=0.1, cutout=2, backend="pillow")
TRAINING = {"transform": TRANSFORM, "shuffle": True, "seed": 7}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images whose fine label is their position."""
    root = tmp_path_factory.mktemp("photos")
    (root / "sub").mkdir()
    rng = np.random.default_rng(0)
    names = tuple(f"{'sub/' * (i % 2)}{i}.{'jpg' if i % 3 else 'png'}" for i in range(COUNT))
    for i, name in enumerate(names):
        pixels = rng.integers(0, 256, (20 + i, 30 - i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    labels = np.stack([np.arange(COUNT), np.arange(COUNT) % 3], axis=1)
    return ImageFiles(root, labels, names)


def loader(files, **options):
    return StreamLoader(files, PREPROCESSING, **{"batch_size": 4, **options})


def assert_equal(one, other):
    assert len(one) == len(other) > 0
    for (x, y), (x2, y2) in zip(one, other, strict=True):
        assert torch.equal(x, x2)
        assert all(torch.equal(a, b) for a, b in zip(y, y2, strict=True))


def test_without_augmentation_images_are_what_preprocessing_makes_of_them(files):
    pixels = np.stack([PREPROCESSING.decode(files.path(i)) for i in range(COUNT)])
    batches = list(loader(files).epoch(0))
    assert torch.equal(
        torch.cat([x for x, _ in batches]), torch.from_numpy(PREPROCESSING.standardise(pixels))
    )
    assert torch.cat([y[0] for _, y in batches]).tolist() == list(range(COUNT))
    for x, y in batches:
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(y[1], y[0] % 3)
        assert [level.dtype for level in y] == [torch.int64, torch.int64]


def test_batches_are_those_of_a_loader_of_the_decoded_images(files):
    """Order, sizes and mixing are the same code."""
    pixels = np.stack([PREPROCESSING.decode(files.path(i)) for i in range(COUNT)])
    images = ImageSet(pixels, files.labels, files.names)
    for options in (
        {"shuffle": True, "seed": 3},
        {"shuffle": True, "drop_last": True, "mixing": Mixing(1.0, 1.0), "num_classes": (COUNT, 3)},
    ):
        assert len(loader(files, **options)) == len(Loader(images, PREPROCESSING, batch_size=4, **options))
        expected = list(Loader(images, PREPROCESSING, batch_size=4, **options).epoch(2))
        assert_equal(list(loader(files, **options).epoch(2)), expected)


def test_the_number_of_workers_changes_nothing(files):
    for start in (0, 2):
        expected = list(loader(files, **TRAINING).epoch(5, start))
        assert_equal(list(loader(files, workers=2, **TRAINING).epoch(5, start)), expected)
    assert not multiprocessing.active_children()


def test_workers_that_are_spawned_give_the_same_batches(files, monkeypatch):
    """As on systems that cannot fork: what a worker needs can be pickled."""
    expected = list(loader(files, **TRAINING).epoch(0))
    start_workers_by("spawn", monkeypatch)
    assert_equal(list(loader(files, workers=1, **TRAINING).epoch(0)), expected)


def test_the_number_of_processes_changes_nothing(files):
    whole = list(loader(files, drop_last=True, **TRAINING).epoch(1))
    shares = [
        list(loader(files, drop_last=True, shard=Shard(rank, 2), **TRAINING).epoch(1)) for rank in range(2)
    ]
    joined = [
        (torch.cat([x, x2]), tuple(torch.cat(levels) for levels in zip(y, y2, strict=True)))
        for (x, y), (x2, y2) in zip(*shares, strict=True)
    ]
    assert_equal(joined, whole)


def test_a_run_resumes_without_decoding_what_was_there_before(files, monkeypatch):
    whole = list(loader(files, **TRAINING).epoch(4))
    read = []
    original = LargeImageAugmentation.read_image
    monkeypatch.setattr(
        LargeImageAugmentation,
        "read_image",
        lambda self, path, *a: read.append(path) or original(self, path, *a),
    )
    assert_equal(list(loader(files, **TRAINING).epoch(4, start=2)), whole[2:])
    assert sorted(read) == sorted(files.path(int(i)) for _, y in whole[2:] for i in y[0])


def test_an_image_is_augmented_anew_in_every_epoch_and_seed(files):
    one = files.subset([0])
    images = {
        next(loader(one, **{**TRAINING, "seed": seed}).epoch(epoch))[0].numpy().tobytes()
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(images) == 9


def test_equal_images_of_an_epoch_are_augmented_differently(files):
    same = files.subset([0] * 8)
    images = {x.numpy().tobytes() for x, _ in loader(same, **{**TRAINING, "batch_size": 1}).epoch(0)}
    assert len(images) == 8


def test_the_global_generator_is_left_alone(files):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader(files, workers=1, **TRAINING).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("transform", [None, TRANSFORM])
def test_an_unreadable_image_is_named_without_a_traceback(files, tmp_path, workers, transform):
    for i, name in enumerate(files.names[:4]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image" if i == 2 else files.path(i).read_bytes())
    broken = ImageFiles(tmp_path, files.labels[:4], files.names[:4])
    with pytest.raises(DataError, match="cannot be read as an image") as caught:
        list(loader(broken, batch_size=2, transform=transform, workers=workers).epoch(0))
    assert str(tmp_path / files.names[2]) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    del caught
    assert not multiprocessing.active_children()


def test_workers_end_when_an_epoch_is_left_early(files):
    batches = loader(files, workers=2, **TRAINING).epoch(0)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


def start_workers_by(method, monkeypatch):
    starting = functools.partial(torch.utils.data.DataLoader, multiprocessing_context=method)
    monkeypatch.setattr(torch.utils.data, "DataLoader", starting)


class Dying:
    """Ends its process as a lack of memory does."""

    def read_image(self, path, preprocessing, rng):
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_reported(files, monkeypatch):
    start_workers_by("fork", monkeypatch)  # a class of this file cannot be pickled
    with pytest.raises(DataError, match="ended from outside"):
        list(loader(files, workers=1, transform=Dying()).epoch(0))


class Wrong:
    def read_image(self, path, preprocessing, rng):
        raise KeyError("a mistake of the user's own transform")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_a_transform_is_not_hidden(files, workers, monkeypatch):
    start_workers_by("fork", monkeypatch)
    with pytest.raises(KeyError, match="a mistake of the user's own transform") as caught:
        list(loader(files, workers=workers, transform=Wrong()).epoch(0))
    traceback.clear_frames(caught.tb)  # its frames would keep the worker until they are collected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("workers", [0, 2])
def test_cuda_gives_the_same_batches(files, workers):
    options = {**TRAINING, "mixing": Mixing(1.0, 1.0), "num_classes": (COUNT, 3)}
    on_cuda = list(loader(files, device="cuda", workers=workers, **options).epoch(2))
    assert all(x.is_cuda and x.is_contiguous(memory_format=torch.channels_last) for x, _ in on_cuda)
    there = [(x.cpu(), tuple(level.cpu() for level in y)) for x, y in on_cuda]
    assert_equal(there, list(loader(files, **options).epoch(2)))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"workers": -1}, "workers must be 0 or more"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 14, "drop_last": True}, "13 images make no batch of 14"),
        ({"batch_size": 3, "drop_last": True, "shard": Shard(0, 2)}, "multiple of 2"),
        ({"mixing": Mixing(1.0), "num_classes": (13,)}, "each of 2 label level"),
    ],
)
def test_bad_settings_are_refused(files, options, why):
    with pytest.raises(DataError, match=why):
        loader(files, **options)


def test_make_loader_takes_the_loader_that_fits(files):
    images = ImageSet(np.zeros((4, 8, 10, 3), np.uint8), np.zeros((4, 1), np.int64), tuple("abcd"))
    options = {"batch_size": 2, "workers": None}
    in_memory = make_loader(images, PREPROCESSING, augmentation=Augmentation(pad=1), **options)
    streamed = make_loader(files, PREPROCESSING, augmentation=TRANSFORM, **options)
    assert (type(in_memory), type(streamed)) == (Loader, StreamLoader)
    assert 1 <= streamed.workers <= 8
    assert type(make_loader(images, PREPROCESSING, augmentation=TRANSFORM, **options)) is Loader
    with pytest.raises(DataError, match="use LargeImageAugmentation"):
        make_loader(files, PREPROCESSING, augmentation=Augmentation(), **options)


def test_small_augmentation_becomes_a_large_one_for_files_only(files):
    small = Augmentation(flip=False, pad=4, cutout=3)
    assert augmentation_for(files, small) == LargeImageAugmentation(flip=False, cutout=3)
    assert augmentation_for(files, TRANSFORM) is TRANSFORM
    images = ImageSet(np.zeros((1, 1, 1, 1), np.uint8), np.zeros((1, 1), np.int64), ("a",))
    assert augmentation_for(images, small) is small


def test_the_fingerprint_knows_names_labels_and_sizes_and_not_the_folder(files, tmp_path):
    def copy(folder, last=b""):
        for i, name in enumerate(files.names):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_bytes(files.path(i).read_bytes() + last)
        return ImageFiles(folder, files.labels, files.names)

    assert copy(tmp_path / "moved").fingerprint == files.fingerprint
    others = [
        copy(tmp_path / "longer", b" "),
        ImageFiles(files.root, files.labels + 1, files.names),
        files.subset(np.arange(COUNT)[::-1]),
        files.subset([0, 1]),
    ]
    assert len({files.fingerprint, *(other.fingerprint for other in others)}) == 5
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        _ = ImageFiles(tmp_path, files.labels, files.names).fingerprint


@pytest.mark.parametrize(
    ("labels", "names", "why"),
    [
        (np.zeros((1, 1)), ("a",), "labels must be int64"),
        (np.zeros(1, np.int64), ("a",), "labels must be int64"),
        (np.zeros((2, 1), np.int64), ("a",), "2 labels and 1 names"),
        (np.zeros((1, 1), np.int64), ("../a",), "not a path inside"),
        (np.zeros((1, 1), np.int64), ("/a",), "not a path inside"),
    ],
)
def test_files_must_fit(labels, names, why):
    with pytest.raises(DataError, match=why):
        ImageFiles(Path("x"), labels, names)
