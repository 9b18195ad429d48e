"""Splits are disjoint, stratified, deterministic in their seed, and test ignores the training seed."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.data import DataOptions, ImageSet
from anytimenet.data.sets.channel_statistics import channel_statistics
from anytimenet.data.sets.splits import make_splits
from anytimenet.data.sets.stratify import apportion, draw_limit, draw_part

CLASS_COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=8)
FRACTIONS = st.floats(0.01, 0.95)
SEEDS = st.integers(0, 1000)


def labelled(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels, [f"image-{i}" for i in range(len(labels))]


def image_set(counts):
    labels, names = labelled(counts)
    images = np.arange(len(labels), dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2, 1)
    return ImageSet(images, labels[:, None], tuple(names))


def split(counts, **options):
    names = [[str(i) for i in range(len(counts))]]
    return make_splits("made", {"train": image_set(counts)}, names, DataOptions(**options))


@given(counts=CLASS_COUNTS, fraction=FRACTIONS, seed=SEEDS)
def test_each_class_is_within_one_image_of_its_share(counts, fraction, seed):
    assume(max(counts) > 1)
    labels, names = labelled(counts)
    drawn = draw_part(labels, names, fraction, seed, "val")
    share = np.bincount(labels[drawn], minlength=len(counts))
    exact = fraction * np.array(counts)
    possible = np.array(counts) - 1
    assert (np.abs(share - np.minimum(exact, possible)) < 1).all()
    assert (share <= possible).all()  # training keeps every class
    assert share.sum() >= 1


@given(counts=CLASS_COUNTS, fraction=FRACTIONS, seed=SEEDS)
def test_the_draw_does_not_depend_on_the_order_of_the_images(counts, fraction, seed):
    assume(max(counts) > 1)
    labels, names = labelled(counts)
    drawn = draw_part(labels, names, fraction, seed, "val")
    order = np.random.default_rng(seed).permutation(len(labels))
    again = draw_part(labels[order], [names[i] for i in order], fraction, seed, "val")
    assert np.array_equal(again, drawn[order])


@examples(35)
@given(
    counts=st.lists(st.integers(4, 40), min_size=2, max_size=8),
    seeds=st.tuples(SEEDS, SEEDS),
    val=st.floats(0.05, 0.5),
    test=st.floats(0.05, 0.5),
)
def test_splits_are_disjoint_complete_and_test_ignores_the_training_seed(counts, seeds, val, test):
    one, other = (split(counts, seed=seed, val_fraction=val, test_fraction=test) for seed in seeds)
    names = [name for part in (one.train, one.val, one.test) for name in part.names]
    assert sorted(names) == sorted(image_set(counts).names)
    assert one.test.fingerprint == other.test.fingerprint
    again = split(counts, seed=seeds[0], val_fraction=val, test_fraction=test)
    assert again.fingerprint == one.fingerprint
    assert (one.fingerprint == other.fingerprint) == (one.val.names == other.val.names)


def test_another_seed_gives_another_validation_part_and_another_fingerprint():
    splits = [split([50, 50], seed=seed) for seed in range(5)]
    assert len({s.val.names for s in splits}) == len({s.fingerprint for s in splits}) == 5
    assert len({split([50, 50], split_seed=seed).test.names for seed in range(5)}) == 5


@given(counts=CLASS_COUNTS, limit=st.integers(1, 400), seed=SEEDS)
def test_a_limit_keeps_proportions_and_every_class_it_can(counts, limit, seed):
    labels, names = labelled(counts)
    kept = draw_limit(labels, names, limit, seed)
    assert kept.sum() == min(limit, len(labels))
    share = np.bincount(labels[kept], minlength=len(counts))
    if limit >= len(counts):
        assert share.min() >= 1
    exact = kept.sum() * np.array(counts) / sum(counts)
    if (exact >= 1).all():
        assert (np.abs(share - exact) < 1).all()


@examples(20)
@given(counts=st.lists(st.integers(4, 40), min_size=2, max_size=6), limit=st.integers(1, 60), seed=SEEDS)
def test_a_limit_leaves_validation_and_test_whole(counts, limit, seed):
    whole, limited = split(counts, seed=seed), split(counts, seed=seed, limit=limit)
    assert limited.val.names == whole.val.names
    assert limited.test.names == whole.test.names
    assert len(limited.train) == min(limit, len(whole.train))
    assert set(limited.train.names) <= set(whole.train.names)


@given(
    counts=st.lists(st.integers(1, 50), min_size=1, max_size=10),
    share=st.floats(0, 1),
)
def test_apportionment_is_by_largest_remainder(counts, share):
    counts = np.array(counts)
    total = int(share * counts.sum())
    got = apportion(counts, total)
    exact = total * counts / counts.sum()
    assert got.sum() == total
    assert (np.abs(got - exact) < 1).all()
    up, down = exact[got > exact] % 1, exact[got < exact] % 1
    assert not len(up) or not len(down) or up.min() >= down.max() - 1e-9


def test_an_impossible_apportionment_is_refused():
    with pytest.raises(ValueError, match="cannot be divided"):
        apportion(np.array([2, 3]), 6)


@examples(20)
@given(
    shape=st.tuples(st.integers(1, 600), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)), seed=SEEDS
)
def test_channel_statistics_are_numpys(shape, seed):
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    mean, std = channel_statistics(images)
    values = images.reshape(-1, shape[3]) / 255
    expected = np.where(values.std(axis=0) > 1e-12, values.std(axis=0), 1.0)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, expected, rtol=1e-9)
