"""Cutout, mixup and CutMix: closed forms, one image after another, and what the loss makes of them."""

import numpy as np
import pytest
import torch

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Augmentation, ImageSet, Loader, Mixing
from anytimenet.data.augment.mixing import partners
from anytimenet.data.augment.pixels import cut_array, draw_squares
from anytimenet.tasks import Classification

BOTH = Mixing(mixup=0.4, cutmix=1.0)


def mixed_batch(mixing, count=12, height=7, width=9, classes=5, seed=0):
    """Values, labels and what became of them, with the draws."""
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(count, height, width, 3)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, classes, count))
    drawn = mixing.draw(count, height, width, rng)
    return values, labels, drawn, drawn.images(values), drawn.labels(labels, classes)


@pytest.mark.parametrize("count", range(1, 8))
def test_partners_are_neighbours(count):
    found = partners(count).tolist()
    for place, partner in enumerate(found):
        assert 0 <= partner < count
        assert abs(place - partner) == 1 or count == 1
    assert all(found[found[place]] == place for place in range(count - count % 2))


@pytest.mark.parametrize("seed", range(5))
def test_mixup_is_a_weighted_mean_of_pixels_and_labels(seed):
    values, labels, drawn, x, y = mixed_batch(Mixing(mixup=0.4), seed=seed)
    for i, j in enumerate(partners(12)):
        share = drawn.share[i]
        expected = values[i].numpy() * share + values[j].numpy() * (1 - share)
        assert np.allclose(x[i], expected, atol=1e-6)
        expected = np.eye(5)[labels[i]] * share + np.eye(5)[labels[j]] * (1 - share)
        assert np.allclose(y[i], expected, atol=1e-6)
    assert y.dtype == torch.float32


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_takes_pixels_and_labels_in_one_proportion(seed):
    values, labels, drawn, x, y = mixed_batch(Mixing(cutmix=1.0), seed=seed)
    for i, j in enumerate(partners(12)):
        taken = (x[i] != values[i]).all(dim=2)
        assert torch.equal(x[i][taken], values[j][taken])
        assert torch.equal(x[i][~taken], values[i][~taken])
        rows, columns = torch.nonzero(taken.any(1))[:, 0], torch.nonzero(taken.any(0))[:, 0]
        if taken.any():  # a full rectangle
            assert taken.sum() == len(rows) * len(columns)
            assert int(rows[-1] - rows[0]) + 1 == len(rows)
            assert int(columns[-1] - columns[0]) + 1 == len(columns)
        assert drawn.share[i] == pytest.approx(1 - taken.sum().item() / 63)
        expected = np.eye(5)[labels[i]] * drawn.share[i] + np.eye(5)[labels[j]] * (1 - drawn.share[i])
        assert np.allclose(y[i], expected, atol=1e-6)


def test_with_both_each_image_draws_one_of_them():
    drawn = BOTH.draw(2000, 8, 8, np.random.default_rng(0))
    by_mixup = drawn.kept < 1
    by_cutmix = drawn.boxes.any(axis=1)
    assert not (by_mixup & by_cutmix).any()
    assert 900 < by_mixup.sum() < 1100
    assert (by_mixup | by_cutmix).mean() > 0.95  # a rectangle may be empty


def test_shares_follow_beta():
    shares = Mixing(mixup=0.4).draw(5000, 8, 8, np.random.default_rng(0)).share
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * 1.8), abs=0.01)  # of Beta(a, a): 1 / (4 (2a + 1))


def loader(mixing=BOTH, **options):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 6, 6, 3), dtype=np.uint8)
    labels = np.stack([np.arange(10), np.arange(10) % 2], axis=1)
    images = ImageSet(images, labels, tuple("abcdefghij"))
    options = {"batch_size": 4, "num_classes": (10, 2), "shuffle": True, **options}
    return Loader(images, Preprocessing(6, 6, 3, (0.5,) * 3, (0.25,) * 3), mixing=mixing, **options)


def test_the_loader_gives_probabilities_of_every_level_and_differs_between_batches():
    batches = list(loader().epoch(0))
    for x, (fine, coarse) in batches:
        assert (fine.shape, coarse.shape) == ((len(x), 10), (len(x), 2))
        assert torch.allclose(fine.sum(1), torch.ones(len(x)))
        # Coarse probabilities are those of the fine classes below: one share an image.
        assert torch.allclose(torch.stack([fine[:, 0::2].sum(1), fine[:, 1::2].sum(1)], 1), coarse)
        assert x.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(batches[0][1][0].amax(1), batches[1][1][0].amax(1))


def test_without_mixing_labels_stay_numbers():
    (_, (fine, _)), *_ = loader(mixing=None).epoch(0)
    assert fine.dtype == torch.int64


def test_mixing_needs_the_numbers_of_classes():
    with pytest.raises(DataError, match="give num_classes"):
        loader(num_classes=())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "needs mixup or cutmix above 0"),
        ({"mixup": -1}, "mixup must be at least 0"),
        ({"cutmix": float("nan")}, "cutmix must be a finite number"),
        ({"cutmix": float("inf")}, "cutmix must be a finite number"),
    ],
)
def test_bad_alphas_are_refused(options, why):
    with pytest.raises(DataError, match=why):
        Mixing(**options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_probabilities_is_the_weighted_loss_of_labels(smoothing):
    task = Classification((5, 3), label_smoothing=smoothing)
    rng = np.random.default_rng(0)
    output = tuple(torch.from_numpy(rng.normal(size=(6, n)).astype(np.float32)) for n in (5, 3))
    labels = tuple(torch.from_numpy(rng.integers(0, n, 6)) for n in (5, 3))
    sure = tuple(
        torch.nn.functional.one_hot(level, n).float() for level, n in zip(labels, (5, 3), strict=True)
    )
    assert task.loss(output, sure) == pytest.approx(task.loss(output, labels).item(), rel=1e-6)
    others = tuple(level.roll(1) for level in labels)
    mixed = tuple(0.3 * level + 0.7 * level.roll(1, 0) for level in sure)
    expected = 0.3 * task.loss(output, labels) + 0.7 * task.loss(output, others)
    assert task.loss(output, mixed).item() == pytest.approx(expected.item(), rel=1e-6)


def test_cutout_hides_one_square_of_its_side():
    images = np.full((500, 9, 11, 1), 255, np.uint8)
    squares = draw_squares(500, 9, 11, 4, np.random.default_rng(0))
    cut = cut_array(images.copy(), squares, 4)
    for image, (top, left) in zip(cut[..., 0], squares, strict=True):
        expected = np.full((9, 11), 255)
        expected[max(top, 0) : top + 4, max(left, 0) : left + 4] = 0
        assert np.array_equal(image, expected)
    centres = squares + 2
    assert {tuple(centre) for centre in centres.tolist()} == {(y, x) for y in range(9) for x in range(11)}


def test_cutout_draws_after_crop_and_flip_so_that_these_stay():
    images = np.random.default_rng(0).integers(1, 256, (20, 8, 8, 3), dtype=np.uint8)
    labels = np.zeros((20, 1), np.int64)
    plain, _ = Augmentation(pad=2)(images, labels, np.random.default_rng(5))
    cut, _ = Augmentation(pad=2, cutout=3)(images, labels, np.random.default_rng(5))
    assert (cut != plain).any()
    assert np.array_equal(cut[cut != 0], plain[cut != 0])


@pytest.mark.parametrize("name", ["pad", "cutout"])
def test_sides_are_whole_numbers(name):
    with pytest.raises(DataError, match=f"{name} must be from 0"):
        Augmentation(**{name: -1})
    with pytest.raises(TypeError, match=f"{name} must be a whole number"):
        Augmentation(**{name: 1.5})
