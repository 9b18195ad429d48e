"""A class that nothing teaches is told of or refused before training, one that nothing judges is told of."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.labels.mask_classes import IGNORED, MaskClasses, default_palette
from anytimenet.data import DataOptions, load_data, parse_ignore_index, splits_from_datasets
from anytimenet.data.sets.taught import check_taught_pixels
from anytimenet.evaluation import make_segmentation_report


def items(labels):
    return [(np.full((4, 4), i, np.uint8), label) for i, label in enumerate(labels)]


def warnings_of(caplog, make):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        make()
    return caplog.text


def test_names_without_examples_are_told(caplog):
    names = ["a", "b", "c", "d"]
    told = warnings_of(caplog, lambda: splits_from_datasets(items([0, 1, 2] * 10), class_names=names))
    assert "no training image is of 1 of 4 classes, which cannot be learnt: 'd'" in told
    assert warnings_of(caplog, lambda: splits_from_datasets(items([0, 1, 2] * 20))) == ""
    alone = warnings_of(caplog, lambda: splits_from_datasets(items([1] * 20), class_names=names))
    assert "no training image is of 3 of 4 classes, which cannot be learnt: 'a', 'c', 'd'" in alone


def test_what_limits_take_away_counts(caplog):
    data = items([0, 1, 2, 3] * 8)
    told = warnings_of(caplog, lambda: splits_from_datasets(data, options=DataOptions(limit=3)))
    assert "no training image is of 1 of 4 classes" in told
    told = warnings_of(caplog, lambda: splits_from_datasets(data, options=DataOptions(limit=1)))
    assert "no training image is of 3 of 4 classes" in told


def test_an_untaught_coarser_class_is_told_with_its_level(caplog):
    data, names = items([(0, 0), (1, 0), (2, 0)] * 8), [["a", "b", "c"], ["x", "y"]]
    told = warnings_of(caplog, lambda: splits_from_datasets(data, class_names=names))
    assert "no training image on level 2 is of 1 of 2 classes, which cannot be learnt: 'y'" in told


def test_parts_that_lack_a_class_are_told(caplog):
    told = warnings_of(caplog, lambda: splits_from_datasets(items([0, 1, 2] * 10), items([0, 2])))
    assert "the val part lacks 1 of 3 classes, which its scores say nothing about: '1'" in told
    assert "the test part" not in told


def masks(root, values, told=("background", "object"), count=12):
    """A folder whose masks hold `values`, each in a stripe of its own."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    (root / "classes.json").write_text(json.dumps(told))
    for i in range(count):
        mask = np.zeros((4 * len(values), 8), np.uint8)
        for k, value in enumerate(values):
            mask[4 * k :, i % 4 :] = value
        Image.fromarray(mask).save(root / f"masks/{i}.png")
        Image.fromarray(np.stack([mask] * 3, axis=2)).save(root / f"images/{i}.png")
    return f"masks:{root}"


@pytest.fixture
def load(tmp_path):
    return lambda name, **options: load_data(name, DataOptions(cache_dir=tmp_path / "cache", **options))


def test_masks_of_0_and_255_are_refused_until_255_is_said_to_be_a_class(tmp_path, load):
    name = masks(tmp_path / "m", (0, 255))
    with pytest.raises(
        DataError, match=r"no training pixel is 'object', and .* of value 255 .*ignore_index=None"
    ):
        load(name)
    splits = load(name, ignore_index=None)
    assert splits.mask_classes.values == (0, 255)
    assert np.unique(splits.train.masks).tolist() == [0, 1]
    assert np.array_equal(splits.train.masks == 1, splits.train.images[..., 0] == 255)
    again = load_data(name, DataOptions(**json.loads(json.dumps(splits.options.to_dict()))))
    assert again.fingerprint == splits.fingerprint


def test_said_in_the_file_that_nothing_is_ignored_means_the_same(tmp_path, load):
    told = {"class_names": ["background", "object"], "ignore_index": None}
    assert load(masks(tmp_path / "m", (0, 255), told)).mask_classes.values == (0, 255)
    assert load(masks(tmp_path / "plain", (0, 1), told)).mask_classes.values == (0, 1)
    with pytest.raises(DataError, match="unknown label 1"):
        load(masks(tmp_path / "both", (0, 1, 255), told))


def test_an_absent_class_is_refused_where_what_is_ignored_was_not_said_and_else_told(tmp_path, load, caplog):
    names = ["a", "b", "c"]
    with pytest.raises(DataError, match="no training pixel is 'c'"):
        load(masks(tmp_path / "m", (0, 1, 255), names))
    said = masks(tmp_path / "said", (0, 1, 255), {"class_names": names, "ignore_index": 255})
    for name, options in ((said, {}), (f"masks:{tmp_path}/m", {"ignore_index": 255})):
        told = warnings_of(caplog, lambda n=name, o=options: load(n, **o))
        assert "no training pixel is of 1 of 3 classes, which cannot be learnt: 'c'" in told
    plain = masks(tmp_path / "plain", (0, 1), names)
    assert "cannot be learnt: 'c'" in warnings_of(caplog, lambda: load(plain))


def test_one_class_of_pixels_teaches_nothing(tmp_path, load):
    with pytest.raises(DataError, match="all training pixels are of the class 'background'"):
        load(masks(tmp_path / "m", (0,)))
    empty, classes = (
        np.full((2, 4, 4), IGNORED, np.uint8),
        MaskClasses(("a", "b"), (0, 1), default_palette(2)),
    )
    with pytest.raises(DataError, match=r"every pixel of the training masks is ignored.*ignore_index=None"):
        check_taught_pixels(classes, empty, {}, ignored_by_default=False)


@pytest.mark.parametrize(("value", "error"), [("none", TypeError), (256, ValueError), (1.5, TypeError)])
def test_what_is_no_pixel_value_is_refused(value, error):
    with pytest.raises(error, match="ignore_index must be"):
        DataOptions(ignore_index=value)


def test_ignore_index_is_of_masks_alone():
    with pytest.raises(DataError, match="ignore_index is for images with masks"):
        load_data("digits", DataOptions(ignore_index=None))
    assert DataOptions().to_dict()["ignore_index"] == "file"
    assert DataOptions(ignore_index=None).to_dict()["ignore_index"] is None
    assert parse_ignore_index("None") is None
    with pytest.raises(DataError, match="ignore index '256'"):
        parse_ignore_index("256")


def test_a_mean_over_fewer_classes_says_so():
    from types import SimpleNamespace

    costs = [SimpleNamespace(stage=1, macs=10, full=12, params=3)]
    whole = make_segmentation_report([np.array([[3, 1], [0, 4]])], costs, ("road", "sky"), count=1)
    assert whole.absent_classes == ()
    assert "leave" not in whole.table()
    part = make_segmentation_report([np.array([[3, 0], [0, 0]])], costs, ("road", "sky"), count=1)
    assert part.absent_classes == ("sky",)
    assert part.table().endswith("no pixel is of sky: the mean IoU leaves them out")
