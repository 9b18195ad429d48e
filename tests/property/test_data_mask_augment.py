"""What moves an image moves its mask: against a loop over pixels, and tensors against arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.errors import DataError
from anytimenet.core.labels.mask_classes import IGNORED
from anytimenet.data import Augmentation, MaskAugmentation

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


def batch(count: int, height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 256, (count, height, width, 3), dtype=np.uint8)
    masks = rng.integers(0, 5, (count, height, width)).astype(np.uint8)
    masks[rng.random(masks.shape) < 0.2] = IGNORED
    return images, masks


@given(SIZES, st.integers(0, 4), st.booleans(), st.integers(0, 2**32))
def test_a_shift_and_a_flip_move_each_pixel_and_its_class_together(size, pad, flip, seed):
    images, masks = batch(*size, seed)
    moved, ids = MaskAugmentation(flip=flip, pad=pad)(images, masks, np.random.default_rng(seed))
    down, right, flipped = Augmentation(flip=flip, pad=pad).draw(len(images), np.random.default_rng(seed))
    _, height, width = masks.shape
    for n in range(len(images)):
        for y in range(height):
            for x in range(width):
                across = width - 1 - x if flipped[n] else x
                source = y + down[n], across + right[n]
                inside = 0 <= source[0] < height and 0 <= source[1] < width
                assert ids[n, y, x] == (masks[n][source] if inside else IGNORED)
                assert (moved[n, y, x] == (images[n][source] if inside else 0)).all()


@given(
    SIZES,
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([None, (0.5, 2.0), (1.0, 1.0), (0.25, 0.5)]),
    st.integers(0, 2**32),
)
def test_tensors_and_arrays_come_out_alike(size, pad, flip, scale, seed):
    images, masks = batch(*size, seed)
    augment = MaskAugmentation(flip=flip, pad=pad, scale=scale)
    moved, ids = augment(images, masks, np.random.default_rng(seed))
    tensors = augment.on_tensor(
        torch.from_numpy(images), torch.from_numpy(masks), np.random.default_rng(seed)
    )
    assert np.array_equal(tensors[0].numpy(), moved)
    assert np.array_equal(tensors[1].numpy(), ids)
    assert moved.flags.c_contiguous
    assert set(np.unique(ids)) <= {*np.unique(masks), IGNORED}


def test_a_scale_of_one_leaves_everything_in_its_place():
    images, masks = batch(3, 6, 8, 0)
    moved, ids = MaskAugmentation(flip=False, scale=(1.0, 1.0))(images, masks, np.random.default_rng(1))
    assert np.array_equal(moved, images)
    assert np.array_equal(ids, masks)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_scaled_image_and_its_mask_still_show_the_same_thing(factor):
    # Left half dark and class 0, right half light and class 1; around it black and ignored.
    light = np.arange(32)[None, :] >= 16
    masks = np.broadcast_to(light, (8, 24, 32)).astype(np.uint8)
    images = np.repeat((masks * 150 + 50)[..., None], 3, axis=3)
    augment = MaskAugmentation(flip=True, scale=(factor, factor))
    moved, ids = augment(images, masks, np.random.default_rng(0))
    shown = moved[..., 0]
    agree = np.where(ids == IGNORED, shown < 60, np.where(ids == 1, shown > 110, shown < 140))
    assert agree.mean() > 0.97  # borders are interpolated
    share = (ids != IGNORED).mean()
    assert share == pytest.approx(min(1, factor**2), abs=0.02)
    assert len({ids[n].tobytes() for n in range(8)}) > 1


def places(count: int, height: int, width: int, scale: tuple[float, float], seed: int) -> np.ndarray:
    """Where each pixel of a scaled picture is read: (row, column) in pixels of the old one, by definition.

    A window of 1 / factor of the picture, drawn as the class says, is sampled at the centres of equal cells.
    """
    rng = np.random.default_rng(seed)
    reach = np.exp(-rng.uniform(np.log(scale[0]), np.log(scale[1]), count))
    across, down = ((1 - reach)[:, None] * rng.uniform(-1, 1, (count, 2))).T
    found = np.zeros((count, height, width, 2))
    for n in range(count):
        for y in range(height):
            for x in range(width):
                # The centre of pixel x lies at (x + 1/2) / width of the picture; its middle is the origin.
                found[n, y, x] = (
                    height * (reach[n] * ((y + 0.5) / height - 0.5) + down[n] / 2 + 0.5) - 0.5,
                    width * (reach[n] * ((x + 0.5) / width - 0.5) + across[n] / 2 + 0.5) - 0.5,
                )
    return found


@given(SIZES, st.sampled_from([(0.5, 2.0), (0.25, 0.5), (1.5, 3.0)]), st.integers(0, 2**32))
def test_a_scaled_mask_takes_the_nearest_pixel_and_its_image_the_four_around(size, scale, seed):
    images, masks = batch(*size, seed)
    _, height, width = masks.shape
    augment = MaskAugmentation(flip=False, scale=scale)
    moved, ids = augment(images, masks, np.random.default_rng(seed))

    def at(pixels: np.ndarray, outside: int, y: int, x: int) -> Any:
        return pixels[y, x].astype(float) if 0 <= y < height and 0 <= x < width else np.float64(outside)

    where = places(*size, scale, seed)
    for n, y, x in np.ndindex(*masks.shape):
        row, column = where[n, y, x]
        if min(abs(row % 1 - 0.5), abs(column % 1 - 0.5)) > 1e-3:  # else two pixels are as near
            assert ids[n, y, x] == at(masks[n], IGNORED, round(row), round(column))
        top, left = int(np.floor(row)), int(np.floor(column))
        blend = sum(
            (1 - abs(row - v)) * (1 - abs(column - u)) * at(images[n], 0, v, u)
            for v in (top, top + 1)
            for u in (left, left + 1)
        )
        assert np.abs(moved[n, y, x] - blend).max() <= 0.6


@given(st.integers(0, 2**32))
def test_the_batch_that_was_given_is_left_as_it_was(seed):
    images, masks = batch(2, 5, 6, 3)
    before = images.copy(), masks.copy()
    MaskAugmentation(pad=2, scale=(0.5, 2))(images, masks, np.random.default_rng(seed))
    assert np.array_equal(images, before[0])
    assert np.array_equal(masks, before[1])


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0), (1.0,), (1.0, float("inf")), "ab"])
def test_what_is_no_range_of_factors_is_refused(scale):
    with pytest.raises((DataError, TypeError), match="scale must be"):
        MaskAugmentation(scale=scale)


def test_a_negative_pad_is_refused():
    with pytest.raises(DataError, match="pad must be from 0"):
        MaskAugmentation(pad=-1)
