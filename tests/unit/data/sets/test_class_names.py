"""Classes of a second data set are matched by name wherever names are at hand, or refused."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset

import anytimenet as an
from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data import DataOptions, ImageFiles, ImageSet, read_dataset, relabel, splits_from_datasets

TINT = {"blue": 2, "green": 1, "red": 0}


class Pictures(list[Any]):
    """Pictures of one colour each, labelled by their place in `classes`."""


def pictures(classes, count=4, named=True):
    made = Pictures()
    for label, name in enumerate(classes):
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[..., TINT[name]] = 200
        made += [(pixels + i, label) for i in range(count)]
    if named:
        made.classes = list(classes)
    return made


def colours(images, names):
    """Whether every image has the colour of the name that its label stands for."""
    return all(
        pixels[0, 0].argmax() == TINT[names[label]]
        for pixels, (label,) in zip(images.images, images.labels, strict=True)
    )


@pytest.mark.parametrize(
    "classes", [["green", "red"], ["red", "green", "blue"], ["red"], ["blue", "green", "red"]]
)
@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: Subset(d, range(len(d))), lambda d: ConcatDataset([d, d])]
)
def test_the_labels_of_other_parts_follow_the_names_of_train(classes, wrap):
    train, other = pictures(["blue", "green", "red"]), wrap(pictures(classes))
    splits = splits_from_datasets(Subset(train, range(len(train))), other, other)
    assert splits.class_names == (("blue", "green", "red"),)
    for part in (splits.train, splits.val, splits.test):
        assert colours(part, splits.class_names[0])


def test_a_net_is_validated_by_name():
    net = an.create_net("isresnext_tiny", num_classes=3)
    train, val = pictures(["blue", "green", "red"], 24), pictures(["red", "green"])
    bundle = an.fit(net, train, val, an.TrainConfig(epochs=4, batch_size=12, lr=0.05, schedule="cosine"))
    assert bundle.manifest.stages[-1].val_accuracy == 1.0


def test_datasets_read_for_a_bundle_follow_its_names():
    wanted = ("blue", "green", "red")
    for classes in (["red", "green"], ["green", "red", "blue"]):
        assert colours(read_dataset(pictures(classes), class_names=[wanted]), wanted)
    assert read_dataset(pictures(["red", "green"], named=False), class_names=[wanted]).labels.max() == 1
    with pytest.raises(
        DataError, match=r"photos has images of the class 'red', which is none of 'cat', 'dog'"
    ):
        read_dataset(pictures(["red"]), class_names=[("cat", "dog")], name="photos")


def test_unknown_names_are_refused_where_an_image_has_them():
    train = pictures(["green", "red"])
    with pytest.raises(
        DataError, match="val has images of the class 'blue', which is none of 'green', 'red'"
    ):
        splits_from_datasets(train, pictures(["blue", "green"]))
    unused = pictures(["green"])
    unused.classes = ["green", "purple"]
    assert splits_from_datasets(train, unused).val.labels.max() == 0
    short = pictures(["green", "red"])
    short.classes = ["green"]
    with pytest.raises(DataError, match="val has the label 1 but names for 1 classes"):
        splits_from_datasets(train, short)


def test_concatenated_datasets_agree_by_name_or_are_refused():
    one, other = pictures(["blue", "green", "red"]), pictures(["red", "blue"])
    both = ConcatDataset([Subset(other, [0, 5]), ConcatDataset([one, Subset(other, [7, 1])])])
    splits = splits_from_datasets(both, options=DataOptions(val_fraction=0, test_fraction=0))
    assert splits.class_names == (("blue", "green", "red"),)
    assert colours(splits.train, splits.class_names[0])
    with pytest.raises(DataError, match="a part of the ConcatDataset has images of the class 'red'"):
        splits_from_datasets(ConcatDataset([pictures(["blue", "green"]), pictures(["green", "red"])]))


def test_given_names_in_another_order_are_matched_and_other_names_rename():
    train, val = pictures(["green", "red"]), pictures(["red", "green"])
    turned = splits_from_datasets(train, val, class_names=["red", "green"])
    assert colours(turned.train, ("red", "green"))
    assert colours(turned.val, ("red", "green"))
    named = splits_from_datasets(train, val, class_names=["grass", "blood"])
    assert colours(named.train, ("green", "red"))
    assert colours(named.val, ("green", "red"))
    taxonomy = Taxonomy.from_mapping(["red", "green"], {"red": "warm", "green": "cold"})
    assert colours(splits_from_datasets(train, taxonomy=taxonomy).train, ("red", "green"))


def test_the_mapping_of_a_folder_dataset_counts_and_not_its_list():
    train, val = pictures(["green", "red"]), pictures(["red", "green"])
    val.classes, val.class_to_idx = ["green", "red"], {"green": 1, "red": 0}
    assert colours(splits_from_datasets(train, val).val, ("green", "red"))


def test_what_is_no_list_of_names_is_none():
    for classes in (2, None, {"green": 0}, [], lambda: ["green"], [["green", "red"], ["x"]]):
        train = pictures(["green", "red"])
        train.classes = classes
        assert splits_from_datasets(train).class_names == (("0", "1"),)


def test_numbers_are_no_names():
    images = ImageSet(np.zeros((2, 1, 1, 1), np.uint8), np.array([[0], [1]]), ("a", "b"))
    for names, wanted in ((None, "xy"), ("01", "xy"), (["0 - zero", "1 - one"], "01"), ("xyz", "xyw")):
        assert relabel(images, names, wanted) is images
    assert relabel(images, ["1", "0"], "01").labels.tolist() == [[1], [0]]
    with pytest.raises(DataError, match="two classes are called 'y'"):
        relabel(images, "yx", "xyy")


def test_files_are_relabelled_and_labels_of_several_levels_are_not(tmp_path):
    files = ImageFiles(tmp_path, np.array([[0], [1]]), ("a", "b"))
    assert relabel(files, "ab", "ba").labels.tolist() == [[1], [0]]
    deep = ImageFiles(tmp_path, np.array([[0, 0], [1, 0]]), ("a", "b"))
    assert relabel(deep, "ab", "abc") is deep
    with pytest.raises(DataError, match="several levels with the fine classes in another order"):
        relabel(deep, "ab", "ba")


def one_hot(kind):
    rows = np.eye(3)[[i % 3 for i in range(12)]]
    return [(np.full((4, 4), 10 * i, np.uint8), kind(row)) for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    "kind",
    [
        lambda row: row.tolist(),
        lambda row: tuple(int(v) for v in row),
        lambda row: row.astype(np.float32),
        lambda row: torch.tensor(row),
        lambda row: torch.tensor(row, dtype=torch.int64),
        lambda row: row.astype(bool),
    ],
)
def test_one_hot_rows_are_classes_and_that_is_said(kind, caplog):
    with caplog.at_level(logging.WARNING):
        splits = splits_from_datasets(one_hot(kind))
    assert splits.num_classes == (3,)
    assert all(
        label == int(name[-7:]) % 3
        for name, (label,) in zip(splits.train.names, splits.train.labels, strict=True)
    )
    assert "labels of train are read as one-hot rows of 3 classes" in caplog.text
    assert read_dataset(one_hot(kind)[:1], class_names=[("a", "b", "c")]).labels.tolist() == [[0]]


def test_rows_that_are_not_one_hot_are_refused_and_levels_are_told_by_their_names():
    made = [(np.zeros((4, 4), np.uint8), row) for row in [(1, 1, 0), (0, 1, 0), (0, 0, 1)] * 3]
    with pytest.raises(DataError, match=r"not one-hot.*class_names, one list for each level"):
        splits_from_datasets(made)
    soft = [(image, [0.2, 0.8]) for image, _ in made]
    with pytest.raises(DataError, match=r"train\[0\]: a label is an int from 0.*one-hot"):
        splits_from_datasets(soft)
    swapped = [(image, (i % 2, 1 - i % 2)) for i, (image, _) in enumerate(made)]
    levels = splits_from_datasets(swapped, class_names=[["a", "b"], ["x", "y"]])
    assert levels.num_classes == (2, 2)
    with pytest.raises(DataError, match="one-hot labels of 2 classes, and 3 are known"):
        read_dataset(swapped, class_names=[("a", "b", "c")])


class Jittered:
    """What random transforms do: another image whenever an item is read."""

    def __init__(self, count=20):
        self.count, self.rng = count, np.random.default_rng(0)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        pixels = np.full((4, 4), 100 if index % 2 else 200, np.uint8)
        pixels[:, :2] = 0
        return (pixels[:, ::-1] if self.rng.random() < 0.5 else pixels), index % 2


def test_items_that_change_between_two_reads_are_told_of(caplog):
    with caplog.at_level(logging.WARNING):
        splits_from_datasets(Jittered())
        read_dataset(Jittered(), name="photos")
    assert "is another when it is read again" in caplog.text
    assert "augmentation=Augmentation(...)" in caplog.text
    assert "photos[" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        splits_from_datasets(pictures(["red", "green"]))
    assert "read again" not in caplog.text
