"""Any map-style dataset is read once, whatever its images are; labels may have several levels."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data import DataOptions, splits_from_datasets

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)


def items(convert=lambda pixels: pixels, label=lambda i: i % 2, count=20):
    return [(convert(PIXELS[i]), label(i)) for i in range(count)]


def position(name):
    return int(name.rpartition("-")[2])


CONVERSIONS = {
    "array": lambda p: p,
    "pil": Image.fromarray,
    "uint8 tensor": lambda p: torch.from_numpy(p).permute(2, 0, 1),
    "float tensor": lambda p: torch.from_numpy(p).permute(2, 0, 1) / 255,
    "double tensor": lambda p: torch.from_numpy(p).permute(2, 0, 1).double().div(255).requires_grad_(),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_every_kind_of_image_gives_the_same_pixels(kind):
    splits = splits_from_datasets(items(CONVERSIONS[kind]), name="mine")
    assert splits.name == "mine"
    assert splits.class_names == (("0", "1"),)
    for part in (splits.train, splits.val, splits.test):
        for image, label, name in zip(part.images, part.labels, part.names, strict=True):
            assert np.array_equal(image, PIXELS[position(name)])
            assert label.tolist() == [position(name) % 2]
    assert (len(splits.train), len(splits.val), len(splits.test)) == (13, 1, 6)


@pytest.mark.parametrize("convert", [lambda p: p[:, :, 0], lambda p: torch.from_numpy(p[:, :, 0]) / 255])
def test_grey_images_have_one_channel(convert):
    splits = splits_from_datasets(items(convert))
    assert splits.preprocessing.channels == 1
    assert np.array_equal(splits.test.images[0, :, :, 0], PIXELS[position(splits.test.names[0]), :, :, 0])


def test_paths_are_images_too(tmp_path):
    made = []
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        made.append((tmp_path / f"{i}.png", i % 2))
    assert splits_from_datasets(made).fingerprint == splits_from_datasets(items()).fingerprint


def test_options_apply():
    splits = splits_from_datasets(
        items(), options=DataOptions(image_size=2, channels=1, limit=4, resample="box")
    )
    assert splits.train.images.shape == (4, 2, 2, 1)
    name = splits.train.names[0]
    assert np.array_equal(splits.train.images[0], splits.preprocessing.decode(PIXELS[position(name)]))


def test_given_parts_stay_as_they_are():
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    labels = torch.arange(20) % 2
    train, val, test = (TensorDataset(images[a:b], labels[a:b]) for a, b in ((0, 10), (10, 14), (14, 20)))
    splits = splits_from_datasets(train, val, test, class_names=("even", "odd"))
    assert np.array_equal(splits.train.images, PIXELS[:10])
    assert np.array_equal(splits.val.images, PIXELS[10:14])
    assert np.array_equal(splits.test.images, PIXELS[14:])
    assert splits.test.labels.tolist() == [[0], [1]] * 3
    assert splits.class_names == (("even", "odd"),)


@pytest.mark.parametrize("make", [tuple, list, torch.tensor, np.array])
def test_labels_of_several_levels(make):
    splits = splits_from_datasets(
        items(label=lambda i: make([i % 4, i % 2])), class_names=[["a", "b", "c", "d"], ["even", "odd"]]
    )
    assert splits.num_classes == (4, 2)
    for part in (splits.train, splits.val, splits.test):
        assert part.labels.tolist() == [[position(n) % 4, position(n) % 2] for n in part.names]


def test_a_taxonomy_lifts_labels_when_asked_for():
    taxonomy = Taxonomy.from_mapping("abcd", {"a": "x", "b": "y", "c": "x", "d": "y"})
    made = items(label=lambda i: i % 4)
    fine = splits_from_datasets(made, taxonomy=taxonomy)
    both = splits_from_datasets(made, taxonomy=taxonomy, options=DataOptions(all_levels=True))
    assert fine.class_names == (tuple("abcd"),)
    assert fine.train.labels.shape[1] == 1
    assert both.class_names == taxonomy.levels
    assert np.array_equal(both.train.labels, taxonomy.lift(fine.train.labels[:, 0]))
    with pytest.raises(DataError, match="names other classes"):
        splits_from_datasets(made, taxonomy=taxonomy, class_names="dcba")


def test_names_come_from_the_dataset_if_it_has_some():
    class Named(list):
        classes = ("even", "odd", "neither")

    assert splits_from_datasets(Named(items())).class_names == (("even", "odd", "neither"),)


def test_a_dataset_is_read_once_but_for_a_few_items_that_are_looked_at_again():
    class Counting(list):
        reads = 0

        def __getitem__(self, index):
            Counting.reads += 1
            return super().__getitem__(index)

    splits_from_datasets(Counting(items() * 5))
    assert Counting.reads == 100 + 2 * 8


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (torch.full((3, 5, 4), -0.1), r"train\[3\].*values in 0\.\.1, got -0\.1.*Normalize"),
        (torch.full((3, 5, 4), 255.0), r"train\[3\].*values in 0\.\.1"),
        (torch.full((3, 5, 4), torch.nan), r"train\[3\].*values in 0\.\.1"),
        (torch.zeros(5, 4, 3, dtype=torch.uint8), r"train\[3\].*permute"),
        (torch.zeros(3, 5, 4, dtype=torch.int64), r"train\[3\].*must be uint8, got int64|must be uint8"),
        (np.zeros((5, 4, 3)), r"train\[3\].*uint8"),
        (np.zeros((3, 5, 4, 1), np.uint8), r"train\[3\].*transpose"),
        (None, r"train\[3\].*not NoneType"),
        (np.zeros((5, 5, 3), np.uint8), r"train\[0\] is 4x5, train\[3\] is 5x5"),
    ],
)
def test_an_unusable_image_is_named(image, why):
    made = items()
    made[3] = (image, 1)
    with pytest.raises(DataError, match=why):
        splits_from_datasets(made)


@pytest.mark.parametrize("label", [-1, 0.5, "cat", None, (), (1, "x"), [[1]], b"\1", {1}, {0: 1}, 2**70])
def test_an_unusable_label_is_named(label):
    made = items()
    made[3] = (made[3][0], label)
    with pytest.raises(DataError, match=r"train\[3\]: a label is an int from 0"):
        splits_from_datasets(made, options=DataOptions(skip_bad=True))


def test_other_mistakes_say_why():
    good = items()
    for arguments, why in [
        ({"train": iter(good)}, "has a length|must have a length"),
        ({"train": []}, "train is empty"),
        ({"train": [PIXELS[0]] * 4}, r"train\[0\] must be a pair"),
        ({"train": items(label=lambda i: 0)}, "one class only"),
        (
            {"train": good, "test": items(label=lambda i: i % 3)},
            "test part has classes that train lacks: '2'",
        ),
        ({"train": good, "class_names": ["even"]}, r"ids up to \[1\], but there are names for \[1\] classes"),
        ({"train": good, "class_names": [["even", "odd"], ["x"]]}, "one list of names per level"),
        ({"train": items(label=lambda i: (i % 2,) * (1 + i % 2))}, "different numbers of levels"),
        ({"train": good, "test": items(label=lambda i: (i % 2, 0))}, "different numbers of levels"),
    ]:
        with pytest.raises(DataError, match=why):
            splits_from_datasets(**arguments)


def test_bad_images_are_skipped_with_a_count(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    made = [*items(), (tmp_path / "broken.png", 0)]
    with pytest.raises(DataError, match=r"1 of 21 images cannot be used.*broken\.png.*skip_bad=True"):
        splits_from_datasets(made)
    splits = splits_from_datasets(made, options=DataOptions(skip_bad=True))
    assert splits.skipped == 1
    assert splits.fingerprint == splits_from_datasets(items()).fingerprint


def test_an_error_of_the_dataset_itself_says_where():
    class Broken(list):
        def __getitem__(self, index):
            if index == 7:
                raise KeyError("inside")
            return super().__getitem__(index)

    with pytest.raises(KeyError, match="inside") as caught:
        splits_from_datasets(Broken(items()))
    assert caught.value.__notes__ == ["while reading train[7]"]
