"""Folders are read once each, whatever links lead to them, and what is left aside is told."""

import logging
import os
import socket

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, load_data


def write(path, seed=0, colour=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (6, 6, 3) if colour else (6, 6)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def fill(root, parts=("",), classes=("cat", "dog"), count=10):
    for part in parts:
        for k, name in enumerate(classes):
            for i in range(count):
                write(root / part / name / f"{i}.png", seed=100 * k + i)
    return root


@pytest.fixture
def load(tmp_path, caplog):
    def load(name, **options):
        with caplog.at_level(logging.WARNING):
            return load_data(name, DataOptions(cache_dir=tmp_path / "cache", **options))

    return load


def names_of(splits):
    return sorted(splits.train.names + splits.val.names + splits.test.names)


PLAIN = sorted(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(10))


@pytest.mark.parametrize(
    "links",
    [
        {"cat/all": "."},
        {"dog/up": ".."},
        {"dog/up": "..", "cat/up": ".."},
        {"dog/far": "../.."},
        {"dog/cats": "../cat"},
        {"cat/dogs": "../dog"},
        {"everything": "."},
        {"kittens": "cat"},
        {"cat/more/loop": "..", "dog/a": "../cat/more"},
    ],
)
def test_links_to_folders_that_are_read_anyway_add_nothing(tmp_path, load, caplog, links):
    root = fill(tmp_path / "data")
    (root / "cat" / "more").mkdir()
    for place, target in links.items():
        (root / place).symlink_to(target)
    splits = load(f"folder:{root}")
    assert names_of(splits) == PLAIN
    assert sum(splits.left_aside.values()) == len(links)
    assert "link" in caplog.text
    assert str(next(iter(links))) in caplog.text or len(links) > 1


def test_links_to_other_places_are_followed_once(tmp_path, load):
    fill(tmp_path / "store", classes=("owl",))
    (tmp_path / "store/owl/back").symlink_to("../../data")
    root = fill(tmp_path / "data")
    (root / "owl").symlink_to("../store/owl")
    splits = load(f"folder:{root}")
    assert names_of(splits) == sorted([*PLAIN, *(f"owl/{i}.png" for i in range(10))])
    assert splits.class_names == (("cat", "dog", "owl"),)


def test_parts_may_be_links_and_no_image_is_in_two_of_them(tmp_path, load):
    fill(tmp_path / "data/all/one", count=4)
    root = tmp_path / "data"
    (root / "train").symlink_to("all/one")
    fill(root, ["test"], count=2)
    (root / "test/cat/again").symlink_to("../../train/cat")
    splits = load(f"folder:{root}", val_fraction=0)
    assert len(splits.train) == 8
    assert splits.test.names == tuple(f"test/{name}/{i}.png" for name in ("cat", "dog") for i in range(2))
    assert splits.left_aside == {"links to folders that are read already": 1, "folders beside the parts": 1}


def test_one_file_under_two_names_is_read_once_and_in_two_classes_refused(tmp_path, load):
    root = fill(tmp_path / "data")
    (root / "cat/10.png").symlink_to("0.png")
    os.link(root / "cat/1.png", root / "cat/11.png")
    splits = load(f"folder:{root}")
    assert len(names_of(splits)) == 20
    assert splits.left_aside == {"links to files that are read already": 2}
    (root / "dog/cat.png").symlink_to("../cat/0.png")
    with pytest.raises(DataError, match="one file in two classes or parts"):
        load(f"folder:{root}")


HIDDEN = (
    *("cat/.ipynb_checkpoints/0-checkpoint.png", "cat/.thumbnails/0.png", "cat/@eaDir/0.png"),
    *("cat/__MACOSX/0.png", "cat/x/$RECYCLE.BIN/0.png", "lost+found/0.png", ".cache/0.png"),
)


def test_hidden_and_system_folders_and_files_are_left_aside_and_counted(tmp_path, load, caplog):
    root = fill(tmp_path / "data")
    for name in HIDDEN:
        write(root / name)
    (root / "cat/._0.png").write_bytes(b"what a Mac adds")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (root / "dog" / name).write_bytes(b"")
    splits = load(f"folder:{root}")
    assert names_of(splits) == PLAIN
    assert splits.class_names == (("cat", "dog"),)
    assert splits.left_aside == {"hidden or system folders": 7, "hidden files": 4}
    (line,) = [record.getMessage() for record in caplog.records if "left aside" in record.getMessage()]
    assert "7 hidden or system folders (" in line
    assert "4 hidden files" in line


def test_every_format_that_is_opened_is_read_and_the_rest_told_by_suffix(tmp_path, load, caplog):
    root = fill(tmp_path / "data", count=3)
    for suffix in ("gif", "ppm", "jfif", "bmp", "webp", "tif", "JPG"):
        picture = Image.open(root / "cat/0.png")
        picture.save(root / f"cat/p.{suffix}", format="JPEG" if suffix in ("jfif", "JPG") else None)
        os.rename(root / f"cat/p.{suffix}", root / f"cat/{suffix}.{suffix}")
    for name in ("a.heic", "b.HEIC", "c.txt", "noname", "x.png.part"):
        (root / "dog" / name).write_bytes(b"")
    write(root / "loose.png")
    splits = load(f"folder:{root}")
    assert len(names_of(splits)) == 6 + 7
    told = {".heic": 2, ".txt": 1, "files without a suffix": 1, ".part": 1, "images beside the folders": 1}
    assert splits.left_aside == told
    (line,) = [record.getMessage() for record in caplog.records if "left aside" in record.getMessage()]
    assert line.startswith(f"left aside in {root}: 2 .heic")


def test_what_was_left_aside_is_told_before_a_class_without_images_is_refused(tmp_path, load, caplog):
    root = fill(tmp_path / "data")
    (root / "eel").mkdir()
    (root / "eel/a.heic").write_bytes(b"")
    with pytest.raises(DataError, match="eel holds no images"):
        load(f"folder:{root}")
    assert "1 .heic" in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_sockets_and_devices_are_left_aside(tmp_path, load, caplog, monkeypatch):
    root = fill(tmp_path / "data")
    os.mkfifo(root / "cat/x.png")
    (root / "dog/null.png").symlink_to("/dev/null")
    monkeypatch.chdir(root / "dog")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.png")
        splits = load(f"folder:{root}")
    assert names_of(splits) == PLAIN
    assert splits.left_aside == {"pipes, sockets or devices": 3}


def test_a_broken_link_is_named(tmp_path, load):
    root = fill(tmp_path / "data")
    (root / "cat/gone.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"cat/gone\.png"):
        load(f"folder:{root}")


def test_nested_folders_are_read_once_too(tmp_path, load):
    root = tmp_path / "data"
    for branch, names in (("pets", ("cat", "dog")), ("birds", ("owl", "jay"))):
        fill(root / branch, classes=names, count=4)
    (root / "pets/loop").symlink_to("..")
    (root / "birds/owl/loop").symlink_to("../..")
    write(root / "pets/@eaDir/cat/0.png")
    splits = load(f"folder:{root}", taxonomy="nested")
    assert splits.class_names == (("cat", "dog", "jay", "owl"), ("birds", "pets"))
    assert len(names_of(splits)) == 16
    assert sum(splits.left_aside.values()) == 3


def test_masks_leave_the_same_aside_and_no_image_has_two_names(tmp_path, load):
    root = tmp_path / "data"
    for i in range(6):
        write(root / f"images/{i}.png", i)
        picture = np.zeros((6, 6), np.uint8)
        picture[i:] = 1
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(picture).save(root / f"masks/{i}.png")
    (root / "classes.json").write_text('["wall", "door"]')
    (root / "images/notes.txt").write_text("")
    (root / "masks/._0.png").write_bytes(b"")
    write(root / "images/more/x.png")
    splits = load(f"masks:{root}", val_fraction=0.2)
    assert len(names_of(splits)) == 6
    assert splits.left_aside == {".txt": 1, "hidden files": 1, "folders inside": 1}
    (root / "images/6.png").symlink_to("0.png")
    os.link(root / "masks/0.png", root / "masks/6.png")
    with pytest.raises(DataError, match="are one file"):
        load(f"masks:{root}")


def test_imagenet_leaves_the_same_aside(tmp_path, load):
    root = tmp_path / "data"
    wnids = ("n00000001", "n00000002")
    fill(root, ["train", "val"], wnids, count=2)
    write(root / "train/n00000001/._0.png")
    (root / "val/n00000001/notes.txt").write_text("")
    (root / "train/n00000001/loop").symlink_to("..")
    splits = load(f"imagenet:{root}", val_fraction=0.3)
    assert len(names_of(splits)) == 8
    assert sum(splits.left_aside.values()) == 3
    (root / "val/n00000002/again.png").symlink_to("../../train/n00000002/0.png")
    with pytest.raises(DataError, match="are one file in two classes or parts"):
        load(f"imagenet:{root}")
