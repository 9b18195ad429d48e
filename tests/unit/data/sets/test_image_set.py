"""Image sets: checked when made, copied when cut, recognised by content, and their PNG files exact."""

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import ImageSet, save_png


def some_images(count=4, shape=(5, 6, 3), seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return ImageSet(images, rng.integers(0, 3, (count, 2)), tuple(f"image-{i}" for i in range(count)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_saved_png_decodes_to_the_same_pixels(tmp_path, channels):
    images = some_images(shape=(7, 9, channels))
    save_png(images, 2, tmp_path / "new" / "image.png")
    preprocessing = Preprocessing(7, 9, channels, (0.5,) * channels, (0.5,) * channels)
    assert np.array_equal(preprocessing.decode(tmp_path / "new" / "image.png"), images.images[2])
    with Image.open(tmp_path / "new" / "image.png") as image:
        assert image.format == "PNG"


def test_a_subset_keeps_order_and_has_its_own_memory():
    images = some_images()
    part = images.subset([3, 1])
    assert part.names == ("image-3", "image-1")
    assert np.array_equal(part.labels, images.labels[[3, 1]])
    before = images.images.copy()
    part.images[:] = 0
    assert np.array_equal(images.images, before)


def test_the_fingerprint_follows_the_content():
    images = some_images()
    assert images.fingerprint == some_images().fingerprint
    pixels, labels = images.images.copy(), images.labels.copy()
    pixels[0, 0, 0, 0] ^= 1
    labels[0, 1] += 1
    others = [
        ImageSet(pixels, images.labels, images.names),
        ImageSet(images.images, labels, images.names),
        ImageSet(images.images, images.labels, ("other", *images.names[1:])),
        images.subset([1, 0, 2, 3]),
        ImageSet(images.images.reshape(4, 6, 5, 3), images.labels, images.names),
    ]
    assert len({images.fingerprint, *(other.fingerprint for other in others)}) == 6


@pytest.mark.parametrize(
    ("images", "labels", "names", "why"),
    [
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 1), np.int64), ("a", "b"), "images must be uint8"),
        (np.zeros((2, 4, 4, 1)), np.zeros((2, 1), np.int64), ("a", "b"), "images must be uint8"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int64), ("a", "b"), "labels must be int64"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 1)), ("a", "b"), "labels must be int64"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 1), np.int64), ("a",), "2 images, 2 labels and 1"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, names, why):
    with pytest.raises(DataError, match=why):
        ImageSet(images, labels, names)
