"""Folders of images and masks: pairs, classes, sizes; what cannot be used is named with its cure."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import fit, fit_labels
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.mask_classes import IGNORED
from anytimenet.data import (
    Augmentation,
    DataOptions,
    ImageSet,
    LargeImageAugmentation,
    Loader,
    MaskAugmentation,
    MaskSet,
    Mixing,
    Shard,
    augmentation_for,
    augmentation_from,
    augmentation_to_dict,
    load_data,
    make_loader,
)
from anytimenet.data.load import describe_data, same_data

CLASSES = {"class_names": ["road", "sky", "tree", "void"], "ignore_index": 3}


def pair_of(name, height=6, width=8):
    rng = np.random.default_rng(sum(map(ord, name)))
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.integers(0, 4, (height, width)).astype(np.uint8)


def write_pair(folder, stem, image=None, mask=None):
    made = pair_of(stem)
    for kind, pixels in (
        ("images", made[0] if image is None else image),
        ("masks", made[1] if mask is None else mask),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{stem}.png")


def fill(root, parts=("train", "val", "test"), count=4, classes=CLASSES):
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(json.dumps(classes))
    for part in parts:
        for i in range(count):
            write_pair(root / part, f"{part}{i}" if part else f"all{i}")
    return root


@pytest.fixture
def load(tmp_path):
    """Loads a folder with a cache of its own."""
    return lambda root, kind="masks", **options: load_data(
        f"{kind}:{root}", DataOptions(cache_dir=tmp_path / "cache", **options)
    )


# --- layouts -------------------------------------------------------------------------------------------


def test_every_image_comes_with_the_mask_of_its_name(tmp_path, load):
    splits = load(fill(tmp_path / "data"))
    for part, name in ((splits.train, "train"), (splits.val, "val"), (splits.test, "test")):
        assert part.names == tuple(f"{name}/images/{name}{i}.png" for i in range(4))
        for i in range(4):
            image, mask = pair_of(f"{name}{i}")
            assert np.array_equal(part.images[i], image)
            assert np.array_equal(part.masks[i], np.where(mask == 3, IGNORED, mask))
    assert splits.class_names == (("road", "sky", "tree"),)
    assert splits.num_classes == (3,)
    assert splits.mask_classes.values == (0, 1, 2)
    assert splits.mask_classes.ignore_index == 3
    assert splits.taxonomy is None


def test_the_second_time_nothing_is_decoded_and_everything_is_equal(tmp_path, load, monkeypatch):
    root = fill(tmp_path / "data")
    first = load(root, image_size=(3, 4))
    from anytimenet.data.sources import masks

    monkeypatch.setattr(masks, "decode_all", None)
    assert load(root, image_size=(3, 4)).fingerprint == first.fingerprint


def test_another_mask_is_another_data_set(tmp_path, load):
    root = fill(tmp_path / "data")
    before = load(root)
    write_pair(root / "train", "train0", mask=np.ones((6, 8), np.uint8))
    after = load(root)
    assert after.fingerprint != before.fingerprint
    assert (after.train.masks[0] == 1).all()


def test_parts_that_are_not_there_are_drawn_by_name(tmp_path, load):
    root = fill(tmp_path / "data", parts=("",), count=20)
    splits = load(root, test_fraction=0.2, val_fraction=0.25)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (12, 4, 4)
    names = splits.train.names + splits.val.names + splits.test.names
    assert sorted(names) == sorted(f"images/all{i}.png" for i in range(20))
    other = load(root, test_fraction=0.2, val_fraction=0.25, seed=1)
    assert other.test.names == splits.test.names
    assert set(other.val.names) != set(splits.val.names)


def test_a_limit_keeps_some_training_images_and_all_others(tmp_path, load):
    splits = load(fill(tmp_path / "data"), limit=2)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [2, 4, 4]


def test_camvid_is_known_wherever_it_lies(tmp_path, load):
    assert load(fill(tmp_path / "data"), kind="camvid").name == f"camvid:{tmp_path / 'data'}"
    assert same_data("camvid:here", "camvid:there")
    assert not same_data("masks:here", "masks:there")
    assert {"camvid:PATH", "masks:PATH"} <= {line["name"] for line in describe_data()}


# --- classes -------------------------------------------------------------------------------------------


def test_a_plain_list_of_names_ignores_255(tmp_path, load):
    root = fill(tmp_path / "data", classes=["a", "b", "c", "d"])
    write_pair(root / "train", "train0", mask=np.full((6, 8), 255, np.uint8))
    splits = load(root)
    assert splits.class_names == (("a", "b", "c", "d"),)
    assert (splits.train.masks[0] == IGNORED).all()
    assert (splits.train.masks[1] == pair_of("train1")[1]).all()


def test_an_ignored_value_in_the_middle_leaves_no_hole_between_the_classes(tmp_path, load):
    classes = {
        "class_names": ["void", "road", "sky", "tree"],
        "ignore_index": 0,
        "palette": [[i, i, i] for i in range(4)],
    }
    splits = load(fill(tmp_path / "data", classes=classes))
    mask = pair_of("train0")[1].astype(int)
    assert np.array_equal(splits.train.masks[0], np.where(mask == 0, IGNORED, mask - 1))
    assert splits.mask_classes.values == (1, 2, 3)
    assert splits.mask_classes.palette == ((1, 1, 1), (2, 2, 2), (3, 3, 3))


def test_a_mask_with_a_palette_is_read_by_its_ids(tmp_path, load):
    root = fill(tmp_path / "data")
    picture = Image.fromarray(pair_of("train0")[1])
    picture.putpalette([7, 8, 9] * 256)
    picture.save(root / "train" / "masks" / "train0.png")
    assert np.array_equal(
        load(root).train.masks[0] % 255, pair_of("train0")[1] % 3 * (pair_of("train0")[1] < 3)
    )


# --- sizes ---------------------------------------------------------------------------------------------


def test_a_reduced_size_need_not_be_square_and_masks_hold_no_mixtures(tmp_path, load):
    root = fill(tmp_path / "data")
    image, mask = pair_of("train0", 12, 16)
    mask[:] = np.where(np.arange(16) < 8, 0, 2)  # a bilinear mean would be class 1
    write_pair(root / "train", "train0", image, mask)
    for i in range(1, 4):
        write_pair(root / "train", f"train{i}", *pair_of(f"{i}", 12, 16))
    splits = load(root, image_size=(3, 4))
    assert splits.train.images.shape == (4, 3, 4, 3)
    assert splits.train.masks.shape == (4, 3, 4)
    assert splits.train.masks[0].tolist() == [[0, 0, 2, 2]] * 3
    assert (splits.preprocessing.height, splits.preprocessing.width) == (3, 4)


@pytest.mark.parametrize("resample", ["bilinear", "box"])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (18, 32), (17, 20)])
def test_a_mask_is_cut_where_its_image_is(resample, height, width):
    # A picture of four rectangles, as an image and as a mask: their borders stay in one place.
    ids = np.zeros((height, width), np.uint8)
    ids[height // 2 :] += 1
    ids[:, width // 2 :] += 2
    grey = Image.fromarray(ids * 80)
    image = np.array(fit(grey, 8, 8, resample)).astype(int)
    mask = np.array(fit_labels(Image.fromarray(ids), 8, 8, resample)).astype(int) * 80
    assert (np.abs(image - mask) <= 120).all()
    assert (np.abs(image - mask) > 40).mean() < 0.3


@pytest.mark.parametrize("resample", ["nearest", "bilinear", "box"])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (32, 18), (17, 20)])
def test_a_mask_is_cut_where_its_image_is_with_a_shorter_side(tmp_path, load, resample, height, width):
    ids = np.zeros((height, width), np.uint8)
    ids[height // 2 :] += 1
    ids[:, width // 3 :] += 2
    image = np.repeat((ids * 80)[..., None], 3, axis=2)
    root = fill(tmp_path / "data", classes=["a", "b", "c", "d"])
    for part in ("train", "val", "test"):
        for i in range(4):
            write_pair(root / part, f"{part}{i}", image, ids)
    splits = load(root, image_size=(8, 10), shorter_side=12, resample=resample)
    assert splits.preprocessing.shorter_side == 12
    assert splits.test.masks.shape == (4, 8, 10)
    shown, mask = splits.test.images[0, :, :, 0].astype(int), splits.test.masks[0].astype(int) * 80
    assert len(np.unique(mask)) == 4
    assert (np.abs(shown - mask) <= 120).all()
    assert (np.abs(shown - mask) > 40).mean() < 0.3
    assert resample != "nearest" or np.array_equal(shown, mask)


def test_parts_are_known_by_other_names_in_any_case(tmp_path, load):
    root, other = fill(tmp_path / "data"), fill(tmp_path / "other")
    for part, name in (("train", "Train"), ("val", "validation"), ("test", "Testing")):
        (other / part).rename(other / name)
    one, two = load(root), load(other)
    for part in ("train", "val", "test"):
        assert np.array_equal(getattr(one, part).masks, getattr(two, part).masks)


def test_the_options_of_a_size_survive_json():
    options = DataOptions(image_size=(96, 128))
    again = DataOptions(**json.loads(json.dumps(options.to_dict())))
    assert again == options
    assert DataOptions(image_size=(32, 32)) == DataOptions(image_size=32)


# --- what cannot be used -------------------------------------------------------------------------------


def test_an_unknown_label_is_named_with_its_file_and_the_cure(tmp_path, load):
    root = fill(tmp_path / "data")
    mask = pair_of("test2")[1]
    mask[0, 0] = 9
    write_pair(root / "test", "test2", mask=mask)
    why = r"test2\.png has pixels of unknown label 9: 3 classes have the values 0-2 and 3 is ignored; add"
    with pytest.raises(DataError, match=why):
        load(root)
    with pytest.raises(DataError, match="unknown label 9"):
        load(root, image_size=(2, 2))  # also where the smaller mask would have lost it


def test_an_image_without_mask_and_a_mask_without_image_are_named(tmp_path, load):
    root = fill(tmp_path / "data")
    (root / "val" / "masks" / "val1.png").unlink()
    with pytest.raises(DataError, match=r"val/images/val1\.png has no partner .*val/masks/val1\.png"):
        load(root)
    (root / "val" / "images" / "val1.png").unlink()
    (root / "val" / "images" / "val0.png").unlink()
    with pytest.raises(DataError, match=r"val/masks/val0\.png has no partner .*val/images/val0\.\*"):
        load(root)


def test_an_image_and_a_mask_of_different_size_are_named(tmp_path, load):
    root = fill(tmp_path / "data")
    write_pair(root / "train", "train0", mask=np.zeros((6, 9), np.uint8))
    why = r"masks/train0\.png is 9x6 and .*images/train0\.png is 8x6 \(width x height\): give both one size"
    with pytest.raises(DataError, match=why):
        load(root, image_size=4)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda root: (root / "classes.json").unlink(), r"classes\.json does not exist: write"),
        (lambda root: (root / "classes.json").write_text("{"), "cannot be read as JSON"),
        (lambda root: (root / "classes.json").write_text("{}"), "holds no list of class names"),
        (lambda root: (root / "classes.json").write_text('["one"]'), "names 1 class"),
        (
            lambda root: (root / "classes.json").write_text('{"class_names": ["a", "b"], "colours": 1}'),
            "unknown key 'colours'",
        ),
        (
            lambda root: (root / "classes.json").write_text(
                '{"class_names": ["a", "b"], "palette": [[1, 2, 3]]}'
            ),
            "palette needs one colour",
        ),
        (
            lambda root: (root / "classes.json").write_text(
                '{"class_names": ["a", "b"], "palette": [[1, 2], [1, 2]]}'
            ),
            r"classes\.json: a colour is three whole numbers",
        ),
        (
            lambda root: (root / "classes.json").write_text(
                '{"class_names": ["a", "b", "c", "d"], "ignore_index": "3"}'
            ),
            r"classes\.json: the values of masks must be",
        ),
        (
            lambda root: write_pair(root / "train", "train1", mask=np.zeros((6, 8, 3), np.uint8)),
            r"train1\.png is a picture of mode RGB: a mask has one channel",
        ),
        (
            lambda root: (root / "train" / "masks" / "train0.png").write_bytes(b"no"),
            "cannot be read as a mask",
        ),
        (
            lambda root: [
                p.unlink() for kind in ("images", "masks") for p in (root / "val" / kind).iterdir()
            ],
            "val/images holds no images",
        ),
        (
            lambda root: [
                write_pair(root / "train", f"train{i}", mask=np.full((6, 8), 3, np.uint8)) for i in range(4)
            ],
            "every pixel of the training masks is ignored",
        ),
        (
            lambda root: [(root / part).rename(root / f"no_{part}") for part in ("train", "val", "test")],
            "holds neither train/images and train/masks nor",
        ),
        (lambda root: (root / "train").rename(root / "other"), "holds val/ but no train/; add one"),
        (
            # The images at the top would be cut into parts, and those that were set aside forgotten.
            lambda root: (
                [(root / "train" / kind).rename(root / kind) for kind in ("images", "masks")]
                and (root / "train").rmdir()
            ),
            "holds val/ but no train/; add one",
        ),
        (lambda root: (root / "test").rename(root / "validation"), "holds val/ and validation/; keep one"),
        (
            lambda root: (root / "classes.json").write_text(json.dumps([str(i) for i in range(256)])),
            r"classes\.json: 256 classes: one byte a pixel has room for 255",
        ),
        (
            lambda root: (root / "classes.json").write_text('["sky", "road", "sky"]'),
            r"classes\.json: two classes are called 'sky': rename one",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, load, broken, why):
    root = fill(tmp_path / "data")
    broken(root)
    with pytest.raises(DataError, match=why):
        load(root)


def test_a_missing_folder_of_masks_and_two_images_of_one_name_are_named(tmp_path, load):
    root = fill(tmp_path / "data")
    Image.fromarray(pair_of("x")[0]).save(root / "train" / "images" / "train0.bmp")
    with pytest.raises(DataError, match=r"train0\.bmp and .*train0\.png have one name"):
        load(root)
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist"):
        load(tmp_path / "nowhere")


def test_an_image_that_cannot_be_read_is_left_out_with_its_mask_if_asked_for(tmp_path, load):
    root = fill(tmp_path / "data")
    (root / "train" / "images" / "train1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"train1\.png cannot be read as an image"):
        load(root)
    splits = load(root, skip_bad=True)
    assert splits.skipped == 1
    assert splits.train.names == tuple(f"train/images/train{i}.png" for i in (0, 2, 3))
    assert np.array_equal(splits.train.masks[1] == IGNORED, pair_of("train2")[1] == 3)


@pytest.mark.parametrize("options", [{"images_per_class": 3}, {"all_levels": True}])
def test_options_for_labels_of_whole_images_are_refused(tmp_path, load, options):
    with pytest.raises(DataError, match="is for labels of whole images"):
        load(fill(tmp_path / "data"), **options)


@pytest.mark.parametrize("size", [(0, 4), (1, 2, 3), "8", 2.5])
def test_what_is_no_size_is_refused(size):
    with pytest.raises((DataError, TypeError), match="image_size must be"):
        DataOptions(image_size=size)


# --- batches -------------------------------------------------------------------------------------------


def masks(count=6, height=6, width=8, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    ids = np.where(rng.random(images.shape[:3]) < 0.2, IGNORED, rng.integers(0, 3, images.shape[:3]))
    return MaskSet(images, ids.astype(np.uint8), tuple(map(str, range(count))))


PREPROCESSING = Preprocessing(6, 8, 3, (0.5,) * 3, (0.25,) * 3)


def test_batches_hold_one_int64_mask_an_image():
    images = masks()
    (x, labels), (rest, _) = Loader(images, PREPROCESSING, batch_size=4).epoch(0)
    assert x.shape == (4, 3, 6, 8)
    assert len(rest) == 2
    assert [str(level.dtype) for level in labels] == ["torch.int64"]
    assert np.array_equal(labels[0].numpy(), images.masks[:4])


def test_shares_of_processes_are_the_batch_of_one():
    augment = MaskAugmentation(pad=2, scale=(0.5, 2.0))
    options = {"batch_size": 4, "shuffle": True, "drop_last": True, "augment": augment, "seed": 3}
    (whole,) = Loader(masks(), PREPROCESSING, **options).epoch(1)
    shares = [
        next(Loader(masks(), PREPROCESSING, shard=Shard(rank, 2), **options).epoch(1)) for rank in range(2)
    ]
    assert np.array_equal(np.concatenate([x for x, _ in shares]), whole[0])
    assert np.array_equal(np.concatenate([labels[0] for _, labels in shares]), whole[1][0])


def test_mixing_and_augmentations_that_leave_masks_behind_are_refused():
    with pytest.raises(DataError, match="mixup and CutMix mix the labels of whole images"):
        Loader(masks(), PREPROCESSING, batch_size=2, mixing=Mixing(mixup=0.2), num_classes=(3,))
    with pytest.raises(DataError, match="use MaskAugmentation"):
        make_loader(masks(), PREPROCESSING, batch_size=2, augmentation=Augmentation())
    with pytest.raises(DataError, match="LargeImageAugmentation moves images and not their masks"):
        make_loader(masks(), PREPROCESSING, batch_size=2, augmentation=LargeImageAugmentation())
    labelled = ImageSet(masks().images, np.zeros((6, 1), np.int64), tuple("abcdef"))
    with pytest.raises(DataError, match=r"use Augmentation\("):
        make_loader(labelled, PREPROCESSING, batch_size=2, augmentation=MaskAugmentation())


def test_an_augmentation_for_labels_becomes_one_for_masks():
    assert augmentation_for(masks(), Augmentation(flip=False, pad=3)) == MaskAugmentation(flip=False, pad=3)
    with pytest.raises(DataError, match="cutout is for labels of whole images"):
        augmentation_for(masks(), Augmentation(cutout=4))
    told = json.loads(json.dumps({"flip": True, "pad": 2, "scale": [0.5, 2]}))
    assert augmentation_from(told) == MaskAugmentation(pad=2, scale=(0.5, 2.0))


@pytest.mark.parametrize("kind", [Augmentation, LargeImageAugmentation, MaskAugmentation])
def test_an_augmentation_is_written_with_its_class_and_read_without_it(kind: type) -> None:
    note = json.loads(json.dumps(augmentation_to_dict(kind(flip=False))))
    assert note["class"] == kind.__name__
    assert augmentation_from(note) == kind(flip=False)
    del note["class"]  # as bundles of older versions have it
    assert augmentation_from(note) == kind(flip=False)
    with pytest.raises(ValueError, match="the augmentation 'Mosaic' does not exist"):
        augmentation_from({**note, "class": "Mosaic"})


@pytest.mark.parametrize(
    ("images", "ids", "names", "why"),
    [
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8), "ab", "images must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 5), np.uint8), "ab", "masks must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.int64), "ab", "masks must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.uint8), "abc", "2 images and 3 names"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, ids, names, why):
    with pytest.raises(DataError, match=why):
        MaskSet(images, ids, tuple(names))


def test_the_fingerprint_follows_the_masks():
    one, same = masks(), masks()
    assert one.fingerprint == same.fingerprint
    other = one.masks.copy()
    other[0, 0, 0] ^= 1
    assert MaskSet(one.images, other, one.names).fingerprint != one.fingerprint


# --- real images ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_camvid_as_it_is_unpacked(shared_data, tmp_path, load):
    import subprocess
    import sys

    if not (shared_data / "camvid.zip").exists():
        pytest.skip("camvid.zip is not among the real images")
    unpack = [sys.executable, str(shared_data / "unpack.py"), "camvid", str(tmp_path / "camvid")]
    subprocess.run(unpack, check=True, capture_output=True)
    splits = load(tmp_path / "camvid", kind="camvid", image_size=(24, 32))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [367, 101, 233]
    assert splits.class_names[0][:2] == ("Sky", "Building")
    assert splits.num_classes == (11,)
    assert splits.mask_classes.ignore_index == 11
    assert set(np.unique(splits.test.masks)) <= {*range(11), IGNORED}
    sky, below = splits.test.masks[:, :3] == 0, splits.test.masks[:, -3:] == 3
    assert sky.mean() > 0.2  # the sky is above
    assert below.mean() > 0.5  # and the road below
