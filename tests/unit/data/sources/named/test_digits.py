"""The digits: 1,797 real images, tested on the same 30 % whatever the seed."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits as sklearn_digits

from anytimenet.data import DataOptions, load_data


@pytest.fixture(scope="module")
def splits():
    return load_data("digits")


def test_counts_and_classes(splits):
    assert (len(splits.train), len(splits.val), len(splits.test)) == (1132, 126, 539)
    assert splits.class_names == (tuple("0123456789"),)
    assert splits.train.images.shape[1:] == (8, 8, 1)
    assert splits.name == "digits"


def test_pixels_are_scaled_to_8_bits(splits):
    original = sklearn_digits()
    for part in (splits.train, splits.val, splits.test):
        index = [int(name.removeprefix("digit-")) for name in part.names]
        assert np.array_equal(part.labels[:, 0], original.target[index])
        np.testing.assert_allclose(part.images[..., 0], original.images[index] / 16 * 255, atol=0.5)
    assert splits.train.images.max() == 255


def test_every_class_keeps_its_share(splits):
    counts = np.bincount(sklearn_digits().target)
    test = np.bincount(splits.test.labels[:, 0])
    val = np.bincount(splits.val.labels[:, 0])
    assert (np.abs(test - 0.3 * counts) < 1).all()
    assert (np.abs(val - 0.1 * (counts - test)) < 1).all()


def test_the_test_part_does_not_depend_on_the_training_seed(splits):
    other = load_data("digits", DataOptions(seed=3, limit=200))
    assert other.test.fingerprint == splits.test.fingerprint
    assert other.val.names != splits.val.names
    assert len(other.train) == 200


def test_the_split_never_changes(splits):
    """Results that people publish rest on these images: a change here is a breaking one."""
    names = "\n".join(sorted(splits.test.names)).encode()
    assert hashlib.sha256(names).hexdigest()[:16] == "8d996df1dbe8bcff"


def test_other_sizes_and_channels():
    splits = load_data("digits", DataOptions(image_size=16, channels=3, resample="nearest"))
    small = load_data("digits")
    assert splits.preprocessing.height == 16
    assert np.array_equal(splits.test.images[:, ::2, ::2, :1], small.test.images)
    assert np.array_equal(splits.test.images[..., 0], splits.test.images[..., 2])
