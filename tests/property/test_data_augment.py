"""Both versions of the augmentation equal padding, cropping and mirroring one image after another."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.data import Augmentation
from anytimenet.data.augment.pixels import draw_squares


def one_by_one(images, pad, down, right, flipped):
    result = []
    for image, y, x, mirror in zip(images, down, right, flipped, strict=True):
        height, width, _ = image.shape
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        crop = padded[pad + y : pad + y + height, pad + x : pad + x + width]
        result.append(crop[:, ::-1] if mirror else crop)
    return np.stack(result)


@examples(75)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)),
    pad=st.integers(0, 12),
    flip=st.booleans(),
    cutout=st.integers(0, 6),
    seed=st.integers(0, 2**32),
)
def test_array_and_tensor_versions_equal_the_plain_one(shape, pad, flip, cutout, seed):
    images = np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)
    labels = np.arange(shape[0])[:, None]
    augmentation = Augmentation(flip=flip, pad=pad, cutout=cutout)
    rng = np.random.default_rng(seed)
    expected = one_by_one(images, pad, *augmentation.draw(shape[0], rng))
    if cutout:  # drawn after the rest
        for image, (top, left) in zip(expected, draw_squares(*shape[:3], cutout, rng), strict=True):
            image[max(top, 0) : max(top + cutout, 0), max(left, 0) : max(left + cutout, 0)] = 0

    before = images.copy()
    moved, same_labels = augmentation(images, labels, np.random.default_rng(seed))
    assert np.array_equal(moved, expected)
    assert np.array_equal(images, before)
    assert np.array_equal(same_labels, labels)

    rng = np.random.default_rng(seed)
    gathered, _ = augmentation.on_tensor(torch.from_numpy(images), torch.from_numpy(labels), rng)
    assert gathered.dtype == torch.uint8
    assert np.array_equal(gathered.numpy(), expected)


def test_every_shift_and_both_sides_occur():
    down, right, flipped = Augmentation(flip=True, pad=2).draw(1000, np.random.default_rng(0))
    assert {(int(y), int(x)) for y, x in zip(down, right, strict=True)} == {
        (y, x) for y in range(-2, 3) for x in range(-2, 3)
    }
    assert 400 < flipped.sum() < 600
    assert not Augmentation(flip=False, pad=2).draw(1000, np.random.default_rng(0))[2].any()
