"""Decoded images are kept: found again, built anew when stale or damaged, never in the way."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anytimenet.data import DataOptions, load_data
from anytimenet.data.reading.cache import cache_folder, read_cache, write_cache
from anytimenet.data.reading.decoding import Decoded
from anytimenet.data.sources import folder


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for class_name in ("cat", "dog"):
        (tmp_path / "data" / class_name).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / class_name / f"{i}.png")
    return tmp_path / "data"


@pytest.fixture
def decodings(monkeypatch):
    """A list that grows by one with each decoding of a whole folder."""
    done = []
    decode_all = folder.decode_all
    monkeypatch.setattr(folder, "decode_all", lambda *args: done.append(1) or decode_all(*args))
    return done


@pytest.fixture
def load(tmp_path, root):
    return lambda **options: load_data(f"folder:{root}", DataOptions(cache_dir=tmp_path / "cache", **options))


def cache_file(tmp_path):
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_the_second_load_reads_the_cache(load, decodings, tmp_path):
    first = load()
    second = load(seed=1)
    assert len(decodings) == 1
    assert load().fingerprint == first.fingerprint
    assert second.test.fingerprint == first.test.fingerprint
    assert cache_file(tmp_path).suffix == ".safetensors"


def test_other_settings_have_a_cache_of_their_own(load, decodings, tmp_path):
    for options in ({}, {"image_size": 2}, {"channels": 1}, {"image_size": 2, "resample": "box"}):
        load(**options)
        load(**options)
    assert len(decodings) == 4
    assert len(list((tmp_path / "cache").iterdir())) == 4


@pytest.mark.parametrize("change", ["pixels", "time", "added", "removed", "renamed"])
def test_a_changed_folder_is_decoded_again_into_the_same_file(load, root, decodings, tmp_path, change):
    before = load()
    path = root / "cat" / "0.png"
    if change == "pixels":
        Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(path)
    elif change == "time":
        os.utime(path, (1, 1))
    elif change == "added":
        path.with_name("new.png").write_bytes(path.read_bytes())
    elif change == "removed":
        path.unlink()
    else:
        path.rename(path.with_name("9.png"))
    after = load()
    assert len(decodings) == 2
    assert (after.fingerprint == before.fingerprint) is (change == "time")
    cache_file(tmp_path)  # one file only


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, -1])
def test_a_truncated_cache_is_built_again(load, decodings, tmp_path, caplog, keep):
    expected = load().fingerprint
    path = cache_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    assert load().fingerprint == expected
    assert len(decodings) == 2
    assert "is built again" in caplog.text
    load()
    assert len(decodings) == 2  # the file is whole again


@pytest.mark.parametrize("place", [0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("bit", [0, 5])
def test_no_flipped_bit_changes_an_image(load, tmp_path, place, bit):
    expected = load().fingerprint
    path = cache_file(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[int(place * len(whole))] ^= 1 << bit
    path.write_bytes(whole)
    assert load().fingerprint == expected
    assert load().fingerprint == expected


def test_every_byte_of_a_cache_counts(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 1), dtype=np.uint8)
    decoded = Decoded(images, np.array([0, 2, 3]), (("b.png", "b.png is broken"),))
    write_cache(tmp_path / "x", "key", decoded)
    whole = (tmp_path / "x").read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        (tmp_path / "x").write_bytes(changed)
        found = read_cache(tmp_path / "x", "key")
        if found is not None:  # a space between two words, or the name of a key that nobody reads
            assert np.array_equal(found.images, images)
            assert found.good.tolist() == [0, 2, 3]
            assert found.bad == decoded.bad


@pytest.mark.parametrize("how", ["in place", "another file"])
def test_a_replaced_file_of_equal_size_and_date_is_noticed(load, root, decodings, how):
    before = load().fingerprint
    path = root / "cat" / "0.bmp"
    Image.open(root / "cat/0.png").save(path)
    (root / "cat/0.png").unlink()
    assert load().fingerprint != before  # another name
    dates, size = path.stat(), path.stat().st_size
    if how == "another file":
        path.unlink()
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(path)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert path.stat().st_size == size
    assert path.stat().st_mtime_ns == dates.st_mtime_ns
    loaded = load()
    assert len(decodings) == 3
    names = loaded.train.names + loaded.val.names + loaded.test.names
    pixels = np.concatenate([part.images for part in (loaded.train, loaded.val, loaded.test)])
    assert (pixels[names.index("cat/0.bmp")] == 7).all()


def test_a_foreign_file_in_its_place_is_replaced(load, decodings, tmp_path):
    expected = load().fingerprint
    path = cache_file(tmp_path)
    path.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert load().fingerprint == expected
    path.write_bytes(os.urandom(300))
    assert load().fingerprint == expected
    assert len(decodings) == 3


def test_an_unwritable_cache_only_warns(load, tmp_path, decodings, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert load().fingerprint == load().fingerprint
    assert len(decodings) == 2
    assert "cannot be written" in caplog.text


def test_changing_loaded_images_leaves_the_cache_alone(load, root, tmp_path):
    (root / "train").mkdir()
    for class_name in ("cat", "dog"):
        (root / class_name).rename(root / "train" / class_name)
    for part in ("val", "test"):  # parts of their own are views of the cache
        shutil.copytree(root / "train", root / part)
    fingerprint = load().fingerprint
    whole = cache_file(tmp_path).read_bytes()
    again = load()
    for part in (again.train, again.val, again.test):
        part.images[:] = 0
    del again
    assert cache_file(tmp_path).read_bytes() == whole
    assert load().fingerprint == fingerprint


def test_what_is_written_is_read_under_its_key_only(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 1), dtype=np.uint8)
    decoded = Decoded(images, np.array([0, 2, 3]), (("b.png", "b.png is broken: ä\ud800"),))
    write_cache(tmp_path / "x", "key", decoded)
    found = read_cache(tmp_path / "x", "key")
    assert np.array_equal(found.images, images)
    assert found.good.tolist() == [0, 2, 3]
    assert found.bad == decoded.bad
    assert read_cache(tmp_path / "x", "other") is None
    assert read_cache(tmp_path / "absent", "key") is None


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ANYTIMENET_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "anytimenet"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/anytimenet")
    monkeypatch.setenv("ANYTIMENET_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    assert cache_folder(Path("/chosen")) == Path("/chosen")
