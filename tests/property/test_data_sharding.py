"""Several processes together read what one process reads, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Augmentation, ImageSet, Loader, Mixing, Shard
from anytimenet.data.augment.mixing import partners, with_partners

MIXINGS = st.sampled_from([None, Mixing(mixup=0.5), Mixing(cutmix=1.0), Mixing(0.3, 0.8)])
AUGMENTATIONS = st.sampled_from([None, Augmentation(pad=1), Augmentation(flip=False, pad=2, cutout=2)])


def loader(count, batch_size, **options):
    images = np.random.default_rng(count).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
    labels = np.stack([np.arange(count), np.arange(count) % 2], axis=1)
    images = ImageSet(images, labels, tuple(map(str, range(count))))
    preprocessing = Preprocessing(4, 5, 3, (0.5,) * 3, (0.25,) * 3)
    options = {"batch_size": batch_size, "num_classes": (count, 2), **options}
    return Loader(images, preprocessing, **options)


@examples(40)
@given(
    count=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    ranks=st.integers(1, 5),
    shuffle=st.booleans(),
    mixing=MIXINGS,
    augment=AUGMENTATIONS,
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 3),
)
def test_the_shares_of_a_batch_together_are_the_batch(
    count, batch_size, ranks, shuffle, mixing, augment, seed, epoch
):
    options = {"shuffle": shuffle, "mixing": mixing, "augment": augment, "seed": seed}
    whole = loader(count, batch_size, **options)
    shares = [loader(count, batch_size, shard=Shard(rank, ranks), **options) for rank in range(ranks)]
    for number, (x, y) in enumerate(whole.epoch(epoch)):
        parts = []
        for share in shares:
            plans = {plan.number for plan in share.batching.plans(epoch)}
            if number in plans:  # a small last batch leaves some processes without images
                parts.append(next(share.epoch(epoch, number)))
        assert torch.equal(torch.cat([x for x, _ in parts]), x)
        for level, expected in enumerate(y):
            assert torch.equal(torch.cat([y[level] for _, y in parts]), expected)
        assert max(len(x) for x, _ in parts) <= -(-len(x) // ranks)


@given(size=st.integers(0, 200), count=st.integers(1, 9))
def test_shares_are_contiguous_disjoint_and_complete(size, count):
    places = [i for rank in range(count) for i in range(size)[Shard(rank, count).of(size)]]
    assert places == list(range(size))


@given(count=st.integers(1, 40), start=st.integers(0, 39), length=st.integers(1, 40))
def test_a_share_is_read_with_its_partners_and_little_else(count, start, length):
    rows = slice(min(start, count - 1), min(min(start, count - 1) + length, count))
    needed = with_partners(rows, count)
    wanted = set(range(count)[rows]) | set(partners(count)[rows].tolist())
    read = set(range(count)[needed])
    assert wanted <= read
    assert len(read) <= len(wanted)
    assert len(read) <= rows.stop - rows.start + 2


@pytest.mark.parametrize(("rank", "count"), [(0, 0), (-1, 2), (2, 2)])
def test_a_share_that_does_not_exist_is_refused(rank, count):
    with pytest.raises(DataError, match="there is no share"):
        Shard(rank, count)


def test_processes_that_train_together_need_equal_shares():
    options = {"drop_last": True, "shard": Shard(1, 3)}
    with pytest.raises(DataError, match="multiple of 3"):
        loader(20, 8, **options)
    assert all(len(x) == 3 for x, _ in loader(20, 9, **options).epoch(0))
