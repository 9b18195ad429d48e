"""Classes of masks: values in files, colours, pictures, JSON."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.labels.mask_classes import IGNORED, MaskClasses, default_palette

CLASSES = MaskClasses(("road", "sky", "tree"), (0, 1, 7), ((128, 64, 128), (70, 130, 180), (0, 128, 0)), 9)


def test_a_mask_becomes_a_picture_with_its_values_and_colours_and_comes_back():
    mask = np.array([[0, 1, 2], [IGNORED, 2, 0]], np.uint8)
    picture = Image.open(io.BytesIO(CLASSES.png(mask)))
    assert picture.mode == "P"
    values = np.array(picture)
    assert values.tolist() == [[0, 1, 7], [9, 7, 0]]
    assert np.array_equal(CLASSES.from_file(values), mask)
    assert np.array_equal(np.array(picture.convert("RGB")), CLASSES.colours(mask))
    assert CLASSES.colours(mask)[1].tolist() == [[0, 0, 0], [0, 128, 0], [128, 64, 128]]


def test_where_nothing_is_ignored_every_other_value_is_refused():
    classes = MaskClasses(("a", "b"), (0, 1), default_palette(2), None)
    with pytest.raises(
        DataError, match=r"unknown label 2, 255: 2 classes have the values 0-1 and none is ig"
    ):
        classes.from_file(np.array([[0, 2, 255]], np.uint8))
    assert classes.to_file(np.array([[1, IGNORED]], np.uint8)).tolist() == [[1, 255]]


def test_json_gives_the_classes_back():
    assert MaskClasses.from_dict(json.loads(json.dumps(CLASSES.to_dict()))) == CLASSES
    with pytest.raises(DataError, match="not a description of mask classes"):
        MaskClasses.from_dict({"names": ["a"]})


def test_the_default_colours_are_different_and_none_is_black():
    colours = default_palette(255)
    assert len(set(colours)) == 255
    assert (0, 0, 0) not in colours


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"values": (0, 1)}, "3 names, 2 values and 3 colours"),
        ({"names": ("road", "sky", "road")}, "two classes are called 'road': rename one"),
        (
            {"names": [str(i) for i in range(256)], "values": list(range(256)), "palette": [[0, 0, 0]] * 256},
            "256 classes: one byte a pixel has room for 255",
        ),
        ({"values": (0, 1, 1)}, "different whole numbers"),
        ({"values": (0, 1, 256)}, "from 0 to 255"),
        ({"ignore_index": 1}, "different whole numbers"),
        ({"palette": ((0, 0, 0), (1, 1, 1), (0, 0, 300))}, "a colour is three"),
        ({"palette": ((0, 0, 0), (1, 1, 1), (0, 0))}, r"palette\[2\] must be a JSON list of 3, not \(0, 0\)"),
    ],
)
def test_what_contradicts_itself_is_refused(change, why):
    with pytest.raises(DataError, match=why):
        MaskClasses.from_dict({**CLASSES.to_dict(), **change})


@pytest.mark.parametrize("mask", [np.zeros((2, 2), int), np.zeros((1, 2, 2), np.uint8)])
def test_what_is_no_mask_makes_no_picture(mask):
    with pytest.raises(DataError, match="a mask is uint8"):
        CLASSES.png(mask)
