"""What moves an image moves its mask: against a loop over pixels, and tensors against arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.errors import DataError
from anytimenet.core.mask_classes import IGNORED
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


@given(st.integers(0, 2**32))
def test_the_batch_that_was_given_is_left_as_it_was(seed):
    images, masks = batch(2, 5, 6, 3)
    before = images.copy(), masks.copy()
    MaskAugmentation(pad=2, scale=(0.5, 2))(images, masks, np.random.default_rng(seed))
    assert np.array_equal(images, before[0])
    assert np.array_equal(masks, before[1])


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0), (1.0,), (1.0, float("inf")), "ab"])
def test_what_is_no_range_of_factors_is_refused(scale):
    with pytest.raises(DataError, match="scale must be two positive factors"):
        MaskAugmentation(scale=scale)


def test_a_negative_pad_is_refused():
    with pytest.raises(DataError, match="pad must be a whole number"):
        MaskAugmentation(pad=-1)
