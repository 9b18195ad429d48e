"""Folders of images are in memory once, and stay in files where they would not fit."""

import gc
import logging
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.data import Augmentation, DataOptions, ImageFiles, ImageSet, MaskSet, make_loader
from anytimenet.data.reading.memory import fits, machine_memory
from anytimenet.data.sets.dividing import divide
from anytimenet.data.sources.folder import load_folder


def write(path, seed, side=8, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side, 3)[: 2 if channels == 1 else 3]
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    for k, name in enumerate(("cat", "dog")):
        for i in range(10):
            write(tmp_path / "data" / name / f"{i}.png", 10 * k + i)
    return tmp_path / "data"


@pytest.fixture
def load(tmp_path, root):
    """Loads the folder on a machine of so many bytes."""

    def load(memory=None, **options):
        return load_folder(root, DataOptions(cache_dir=tmp_path / "cache", **options), memory)

    return load


def test_more_than_half_of_the_memory_stays_in_files(load, caplog):
    needed = 20 * 8 * 8 * 3
    assert isinstance(load(2 * needed).train, ImageSet)
    assert "memory" not in caplog.text
    with caplog.at_level(logging.WARNING):
        assert isinstance(load(2 * needed - 1).train, ImageFiles)
    assert "more than half of the memory" in caplog.text
    assert "in_memory=True" in caplog.text
    assert isinstance(load(2 * needed - 1, in_memory=True).train, ImageSet)
    assert isinstance(load(2 * needed - 1, image_size=4).train, ImageSet)
    assert isinstance(load(2 * needed // 3, channels=1).train, ImageSet)


@pytest.mark.parametrize(
    "options", [{}, {"image_size": 4}, {"image_size": 4, "shorter_side": 6}, {"channels": 1}]
)
def test_files_are_split_and_standardised_as_images_in_memory_are(load, options):
    kept, streamed = load(**options), load(1, **options)
    assert streamed.preprocessing == kept.preprocessing
    assert streamed.class_names == kept.class_names
    for one, other in zip(
        (kept.train, kept.val, kept.test), (streamed.train, streamed.val, streamed.test), strict=True
    ):
        assert other.names == one.names
        assert np.array_equal(other.labels, one.labels)
        (x, _), (y, _) = (
            next(make_loader(part, kept.preprocessing, batch_size=len(part)).epoch(0))
            for part in (one, other)
        )
        assert bool((x == y).all())
    assert load(1, **options).fingerprint == streamed.fingerprint


def test_grey_files_have_one_channel_until_one_has_colour(load, root):
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert load(1).preprocessing == load().preprocessing
    assert load(1).preprocessing.channels == 1
    write(root / "dog/9.png", 99)
    assert load(1).preprocessing == load().preprocessing
    assert load(1).preprocessing.channels == 3


def test_bad_files_are_named_before_training_and_may_be_skipped(load, root):
    (root / "cat/3.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"1 of 20 images cannot be used: .*3\.png"):
        load(1)
    streamed = load(1, skip_bad=True)
    assert streamed.skipped == 1
    assert streamed.preprocessing == load(skip_bad=True).preprocessing
    assert "cat/3.png" not in streamed.train.names + streamed.val.names + streamed.test.names
    write(root / "dog/4.png", 4, side=5)
    with pytest.raises(DataError, match="images differ in size"):
        load(1, skip_bad=True)


def test_a_look_through_is_done_once(load, monkeypatch):
    from anytimenet.data.reading import surveying

    looks, decode = [], surveying.decode_one
    monkeypatch.setattr(surveying, "decode_one", lambda *a: looks.append(1) or decode(*a))
    first = load(1)
    assert len(looks) == 20
    assert load(1).preprocessing == first.preprocessing
    assert len(looks) == 20


def test_an_augmentation_for_memory_says_what_is_right_for_files(load):
    splits = load(1)
    with pytest.raises(DataError, match="use LargeImageAugmentation"):
        make_loader(splits.train, splits.preprocessing, batch_size=2, augmentation=Augmentation())


def test_the_memory_of_this_machine():
    memory = machine_memory()
    assert memory is None or memory > 2**26
    assert fits(10, 20)
    assert not fits(11, 20)


@pytest.mark.parametrize("grey_first", [False, True])
def test_decoded_images_are_in_memory_once(tmp_path, load, root, grey_first):
    for k, name in enumerate(("cat", "dog")):
        for i in range(40):
            write(root / name / f"{i}.png", i, side=128, channels=1 if grey_first and not k and i < 30 else 3)
    decoded = 80 * 128 * 128 * 3
    for _ in range(2):  # decoded, and from the cache
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        splits = load()
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        assert len(splits.train) + len(splits.val) + len(splits.test) == 80
        assert decoded < peak < 1.3 * decoded


def image_set(count):
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2, 1)
    return ImageSet(images, np.arange(count)[:, None] % 3, tuple(map(str, range(count))))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kept", [10, 30, 40])
def test_dividing_gives_what_subsets_give(seed, kept):
    order = np.random.default_rng(seed).permutation(40)[:kept]
    runs = [order[: kept // 2], order[kept // 2 : kept // 2], order[kept // 2 :]]
    for made in (image_set(40), image_set(40)):
        for part, run in zip(divide(made, runs), runs, strict=True):
            assert part.fingerprint == image_set(40).subset(run).fingerprint
    images = image_set(40).images
    pairs = MaskSet(images.copy(), images[..., 0].copy(), tuple(map(str, range(40))))
    for part, run in zip(divide(pairs, runs), runs, strict=True):
        assert np.array_equal(part.images, images[run])
        assert np.array_equal(part.masks, images[run][..., 0])


def test_dividing_leaves_what_cannot_be_written_alone():
    made = image_set(8)
    made.images.flags.writeable = False
    before = made.fingerprint
    train, _ = divide(made, [np.arange(7, 0, -1), np.array([0])])
    assert train.fingerprint == image_set(8).subset(list(range(7, 0, -1))).fingerprint
    assert ImageSet(made.images, made.labels, made.names).fingerprint == before
