"""MNIST and Fashion-MNIST from IDX files, plain or packed."""

import gzip
import shutil
import struct

import numpy as np
import pytest

from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, load_data
from anytimenet.data.sources.named.catalogue import FASHION_MNIST, MNIST
from anytimenet.data.sources.named.download import md5_of
from anytimenet.data.sources.named.idx import read_idx

FILES = MNIST.forms[0].files


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, 28, 28), dtype=np.uint8) for count in (120, 30)]
    labels = [(np.arange(count) % 10).astype(np.uint8) for count in (120, 30)]
    return [images[0], labels[0], images[1], labels[1]]


def write(folder, arrays, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(FILES, arrays, strict=True):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))


@pytest.fixture
def load(tmp_path):
    return lambda name="mnist", **options: load_data(
        name, DataOptions(data_root=tmp_path, cache_dir=tmp_path / "cache", **options)
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw", "mnist/MNIST/raw"])
def test_images_and_labels_come_back_from_every_place(load, arrays, tmp_path, packed, place):
    write(tmp_path / place, arrays, packed)
    splits = load()
    assert (len(splits.train), len(splits.val), len(splits.test)) == (110, 10, 30)
    assert splits.class_names == (tuple("0123456789"),)
    assert np.array_equal(splits.test.images[..., 0], arrays[2])
    for part in (splits.train, splits.val):
        places = [int(name.removeprefix("train-")) for name in part.names]
        assert np.array_equal(part.images[..., 0], arrays[0][places])
        assert np.array_equal(part.labels[:, 0], arrays[1][places])


def test_each_set_is_read_from_its_own_folder(load, arrays, tmp_path):
    write(tmp_path / "MNIST" / "raw", arrays)
    write(tmp_path / "FashionMNIST" / "raw", [*arrays[:2], 255 - arrays[2], arrays[3]])
    fashion = load("fashion_mnist")
    assert np.array_equal(fashion.test.images[..., 0], 255 - arrays[2])
    assert fashion.class_names[0][7] == "Sneaker"
    assert np.array_equal(load("mnist").test.images[..., 0], arrays[2])


def test_constants_and_channels(load, arrays, tmp_path):
    write(tmp_path, arrays)
    assert (load().preprocessing.mean, load().preprocessing.std) == ((0.1307,), (0.3081,))
    assert load("fashion_mnist").preprocessing.mean == (0.2860,)
    colour = load(channels=3)
    assert colour.preprocessing.std == (0.3081,) * 3
    assert all(np.array_equal(colour.test.images[..., i], arrays[2]) for i in range(3))
    small = load(image_size=14, resample="box", channels=3)
    assert small.test.images.shape == (30, 14, 14, 3)


def test_what_is_cut_short_or_of_another_format_is_refused(load, arrays, tmp_path):
    write(tmp_path, arrays)
    for name in FILES:
        whole = (tmp_path / name).read_bytes()
        for content in (b"", whole[:3], whole[:9], whole[:-1], whole + b"\0", b"\0\0\x0d" + whole[3:]):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(DataError, match=name):
                load()
        (tmp_path / name).write_bytes(whole)


def test_a_damaged_packed_file_is_refused(load, arrays, tmp_path):
    write(tmp_path, arrays, packed=True)
    path = tmp_path / f"{FILES[0]}.gz"
    whole = path.read_bytes()
    for content in (b"", b"no gzip", whole[:50], whole[:-6]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=FILES[0]):
            load()


def test_files_that_do_not_belong_together_are_refused(load, arrays, tmp_path):
    images, labels, test_images, test_labels = arrays
    for wrong in (
        [images[:50], labels, test_images, test_labels],
        [images, labels, test_images[:, :20, :20], test_labels],
        [images, images, test_images, test_labels],
        [images, labels + 1, test_images, test_labels],
    ):
        write(tmp_path, wrong)
        with pytest.raises(DataError, match=str(tmp_path)):
            load()


def test_a_header_that_promises_a_huge_array_is_refused_without_making_it():
    with pytest.raises(DataError, match="holds 3 values instead of"):
        read_idx(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"abc", "a file")


def test_the_real_files(shared_data, tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    shutil.copytree(shared_data / "fashion_mnist", folder)
    for remote in FASHION_MNIST.forms[0].remote:
        assert md5_of(folder / remote.name) == remote.md5
    splits = load_data("fashion_mnist", DataOptions(data_root=tmp_path))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (55_000, 5_000, 10_000)
    assert np.bincount(splits.val.labels[:, 0]).tolist() == [500] * 10
    own = load_data("fashion_mnist", DataOptions(data_root=tmp_path, standardise="data", val_fraction=0))
    np.testing.assert_allclose(own.preprocessing.mean, splits.preprocessing.mean, atol=5e-5)
    np.testing.assert_allclose(own.preprocessing.std, splits.preprocessing.std, atol=5e-5)
    folder.rename(tmp_path / "mnist")
    with pytest.raises(DataError, match="is a file of fashion_mnist, not of mnist"):
        load_data("mnist", DataOptions(data_root=tmp_path))
