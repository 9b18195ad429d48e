"""Data is asked for by name, by path and with options as keywords, and what comes back can be printed."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anytimenet as an
from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, ImageFiles, ImageSet, MaskSet, load_data


@pytest.fixture
def pets(tmp_path):
    for k, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (16, 16), (10 * i, 100 * k, 0)).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


def test_a_path_is_a_folder(pets, tmp_path):
    cache = tmp_path / "cache"
    named = load_data(f"folder:{pets}", DataOptions(cache_dir=cache))
    by_path = load_data(pets, cache_dir=cache)
    assert by_path.fingerprint == named.fingerprint
    assert by_path.name == f"folder:{pets}"
    with pytest.raises(DataError, match="does not exist"):
        load_data(tmp_path / "nothing")
    with pytest.raises(DataError, match=re.escape(f"write folder:{pets}")):
        load_data(str(pets))


def test_fit_takes_a_path(pets, monkeypatch, tmp_path):
    monkeypatch.setenv("ANYTIMENET_CACHE", str(tmp_path / "cache"))
    net = an.create_net("isresnext_tiny", num_classes=2)
    bundle = an.fit(net, pets, config=an.TrainConfig(epochs=1, batch_size=8))
    assert bundle.manifest.class_names == (("cat", "dog"),)
    with pytest.raises(DataError, match="own validation part"):
        an.fit(net, pets, pets)


def test_options_are_keywords_and_go_before_given_ones():
    splits = load_data("digits", DataOptions(image_size=4, limit=50), limit=60, val_fraction=0.2)
    assert splits.train.images.shape == (60, 4, 4, 1)
    assert splits.options == DataOptions(image_size=4, limit=60, val_fraction=0.2)
    with pytest.raises(TypeError, match=r"no argument 'image_sice': did you mean 'image_size'"):
        load_data("digits", image_sice=4)
    with pytest.raises(DataError, match="limit must be"):
        load_data("digits", limit=0)


@pytest.mark.parametrize("name", [None, 3, ["digits"], b"digits", np.zeros(2)])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(TypeError, match="name must be"):
        load_data(name)


def test_what_are_no_options_is_refused():
    with pytest.raises(TypeError, match="options must be DataOptions"):
        load_data("digits", {"image_size": 4})


def test_data_is_printed_in_a_line(pets, tmp_path):
    text = repr(load_data(pets, cache_dir=tmp_path / "cache", val_fraction=0.2))
    assert text == f"DataSplits('folder:{pets}': train 11, val 3, test 6; 16x16x3; 2 classes: 'cat', 'dog')"
    images, labels = np.zeros((500, 4, 6, 3), np.uint8), np.zeros((500, 2), np.int64)
    names = tuple(map(str, range(500)))
    assert repr(ImageSet(images, labels, names)) == "ImageSet(500 images 4x6x3, 2 label level(s))"
    assert repr(MaskSet(images, images[..., 0], names)) == "MaskSet(500 images 4x6x3 with masks)"
    assert (
        repr(ImageFiles(Path("here"), labels, names)) == "ImageFiles(500 files in 'here', 2 label level(s))"
    )
