"""Batches are a function of seed, epoch and number; their values are what Preprocessing says."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Augmentation, ImageSet, Loader

AUGMENTATION = Augmentation(flip=True, pad=2)


def some_images(count=23, shape=(6, 5, 3), levels=2):
    """Images whose fine label is their position, in arrays that nobody may write to."""
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    labels = np.stack([np.arange(count), np.arange(count) % 3], axis=1)[:, :levels]
    images.flags.writeable = labels.flags.writeable = False
    return ImageSet(images, labels, tuple(map(str, range(count))))


def preprocessing_of(images):
    height, width, channels = images.images.shape[1:]
    rng = np.random.default_rng(1)
    return Preprocessing(
        height, width, channels, tuple(rng.random(channels)), tuple(rng.random(channels) + 0.1)
    )


def loader(images=None, **options):
    images = some_images() if images is None else images
    return Loader(images, preprocessing_of(images), **{"batch_size": 4, **options})


def positions(batches):
    return [y[0].tolist() for _, y in batches]


def assert_equal(one, other):
    assert len(one) == len(other)
    for (x, y), (x2, y2) in zip(one, other, strict=True):
        assert torch.equal(x, x2)
        assert all(torch.equal(a, b) for a, b in zip(y, y2, strict=True))


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 5, 1), (1, 1, 3)])
def test_values_are_those_of_preprocessing(shape):
    images = some_images(shape=shape)
    expected = torch.from_numpy(preprocessing_of(images).standardise(images.images))
    x = torch.cat([x for x, _ in loader(images).epoch(0)])
    assert x.dtype == torch.float32
    assert torch.equal(x, expected)


def test_augmented_values_too():
    images = some_images()
    (x, y), *_ = loader(images, batch_size=23, augment=AUGMENTATION, shuffle=True).epoch(0)
    moved = {image.tobytes() for image in x.numpy()}
    still = {image.tobytes() for image in preprocessing_of(images).standardise(images.images)}
    assert sorted(y[0].tolist()) == list(range(23))
    assert len(moved - still) > 10
    zero = preprocessing_of(images).standardise(np.zeros((1, 6, 5, 3), np.uint8))
    assert (x[:, :, 0, 0] == torch.from_numpy(zero)[:, :, 0, 0]).all(dim=1).any()  # padding is black


def test_batches_are_channels_last_with_one_label_tensor_a_level():
    for x, y in loader().epoch(0):
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert [level.dtype for level in y] == [torch.int64, torch.int64]
        assert torch.equal(y[1], y[0] % 3)
        assert all(level.is_contiguous() for level in y)


def test_an_epoch_holds_every_image_once():
    for shuffle in (False, True):
        seen = [i for batch in positions(loader(shuffle=shuffle).epoch(3)) for i in batch]
        assert sorted(seen) == list(range(23))
        assert (seen == list(range(23))) is not shuffle


def test_sizes_and_drop_last():
    assert [len(batch) for batch in positions(loader().epoch(0))] == [4, 4, 4, 4, 4, 3]
    assert [len(batch) for batch in positions(loader(drop_last=True).epoch(0))] == [4] * 5
    assert len(loader()) == 6
    assert len(loader(drop_last=True)) == 5
    assert len(loader(batch_size=23)) == len(loader(batch_size=23, drop_last=True)) == 1


@pytest.mark.parametrize("start", [0, 2, 5, 6])
def test_a_batch_depends_on_seed_epoch_and_number_alone(start):
    options = {"augment": AUGMENTATION, "shuffle": True, "seed": 7}
    whole = list(loader(**options).epoch(4))
    used = loader(**options)
    next(used.epoch(9))
    list(used.epoch(1))
    assert_equal(list(used.epoch(4, start=start)), whole[start:])


def test_epochs_and_seeds_differ():
    options = {"augment": AUGMENTATION, "shuffle": True}
    orders = [positions(loader(seed=seed, **options).epoch(e)) for seed in range(3) for e in range(3)]
    assert len({str(order) for order in orders}) == 9


def test_batches_are_augmented_differently():
    images = ImageSet(np.repeat(some_images().images[:1], 64, 0), np.zeros((64, 1), np.int64), ("same",) * 64)
    one, other = (x for x, _ in loader(images, batch_size=32, augment=AUGMENTATION).epoch(0))
    assert not torch.equal(one, other)


def test_a_batch_may_be_changed_without_harm():
    images = some_images()
    images.images.flags.writeable = images.labels.flags.writeable = True
    before = images.fingerprint
    for augment in (None, Augmentation(flip=False, pad=0), AUGMENTATION):
        for x, y in loader(images, augment=augment).epoch(0):
            x.zero_()
            y[0].zero_()
    assert ImageSet(images.images, images.labels, images.names).fingerprint == before


@pytest.mark.parametrize("augment", [None, AUGMENTATION])
def test_the_path_of_other_devices_gives_the_same_batches(monkeypatch, augment):
    """The gathering path, run on CPU tensors."""
    options = {"augment": augment, "shuffle": True, "seed": 3}
    expected = list(loader(**options).epoch(2))
    monkeypatch.setattr(Loader, "_from_memory", Loader._from_device)
    assert_equal(list(loader(**options).epoch(2)), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", [None, AUGMENTATION])
def test_cuda_gives_the_same_batches(augment):
    options = {"augment": augment, "shuffle": True, "seed": 3}
    on_cuda = list(loader(device="cuda", **options).epoch(2))
    assert all(x.is_cuda and x.is_contiguous(memory_format=torch.channels_last) for x, _ in on_cuda)
    assert_equal(
        [(x.cpu(), tuple(level.cpu() for level in y)) for x, y in on_cuda], list(loader(**options).epoch(2))
    )


@pytest.mark.parametrize(
    ("count", "options", "why"),
    [
        (23, {"batch_size": 0}, "batch_size must be at least 1"),
        (23, {"seed": -1}, "seed must be 0 or more"),
        (23, {"batch_size": 24, "drop_last": True}, "23 images make no batch of 24"),
        (0, {}, "0 images make no batch"),
    ],
)
def test_bad_settings_are_refused(count, options, why):
    images = some_images(count)
    with pytest.raises(DataError, match=why):
        Loader(images, preprocessing_of(images), **{"batch_size": 4, **options})


@pytest.mark.parametrize(("number", "start"), [(-1, 0), (0, -1), (0, 7)])
def test_an_epoch_or_batch_that_does_not_exist_is_refused(number, start):
    with pytest.raises(DataError, match="both count from 0"):
        next(loader().epoch(number, start))


def test_images_must_fit_preprocessing():
    with pytest.raises(DataError, match="do not fit preprocessing"):
        Loader(some_images(), Preprocessing(5, 6, 3, (0,) * 3, (1,) * 3), batch_size=4)


def test_the_room_is_entered_without_torch():
    code = "import anytimenet.data, sys; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
