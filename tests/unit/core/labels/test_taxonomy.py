"""A taxonomy is a tree: one parent per class and level, and labels lift along it."""

import json

import numpy as np
import pytest

from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy

BIRDS = {
    "crow": ["corvid", "songbird"],
    "jay": ["corvid", "songbird"],
    "wren": ["wren family", "songbird"],
    "gull": ["larid", "shorebird"],
}


def test_levels_and_lift():
    taxonomy = Taxonomy.from_mapping(["crow", "gull", "jay", "wren"], BIRDS)
    assert taxonomy.num_levels == 3
    assert taxonomy.levels[1:] == (("corvid", "larid", "wren family"), ("shorebird", "songbird"))
    lifted = taxonomy.lift(np.array([3, 0, 1]))
    assert lifted.dtype == np.int64
    assert [[taxonomy.levels[d][i] for d, i in enumerate(row)] for row in lifted] == [
        ["wren", "wren family", "songbird"],
        ["crow", "corvid", "songbird"],
        ["gull", "larid", "shorebird"],
    ]


def test_the_order_of_the_mapping_does_not_matter():
    names = ["crow", "gull", "jay", "wren"]
    backwards = dict(reversed(BIRDS.items()))
    assert Taxonomy.from_mapping(names, BIRDS) == Taxonomy.from_mapping(names, backwards)


def test_a_single_name_is_one_level():
    taxonomy = Taxonomy.from_mapping(["b", "a"], {"a": "x", "b": "y", "unused": "z"})
    assert taxonomy == Taxonomy((("b", "a"), ("x", "y")), ((1,), (0,)))


def test_one_level_lifts_to_one_column():
    assert Taxonomy((("a", "b"),), ((), ())).lift([1, 0]).tolist() == [[1], [0]]


def test_json_round_trip():
    taxonomy = Taxonomy.from_mapping(sorted(BIRDS), BIRDS)
    assert Taxonomy.from_dict(json.loads(json.dumps(taxonomy.to_dict()))) == taxonomy


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({"a": "x"}, "nothing about 'b'"),
        ({"a": "x", "b": ["x", "y"]}, "1 coarser names and others 2"),
        (
            {"a": ["x", "u"], "b": ["x", "v"]},
            "'x' on level 2 of the taxonomy has two parents, 'u' and 'v': give all",
        ),
        ({"a": "x", "b": 3}, "needs a coarser name or a list of names for 'b'"),
        ({"a": "x", "b": []}, "needs a coarser name or a list of names for 'b'"),
        ({"a": "x", "b": {"y": 1, 2: 3}}, "needs a coarser name or a list of names for 'b'"),
    ],
)
def test_bad_mappings_are_refused(mapping, why):
    with pytest.raises(DataError, match=why):
        Taxonomy.from_mapping(["a", "b"], mapping)


@pytest.mark.parametrize(
    ("levels", "parents", "why"),
    [
        ((), (), "at least one level"),
        ((("a", "b"), ()), ((0,), (0,)), "at least one level and one class"),
        ((("a", "a"), ("x",)), ((0,), (0,)), "twice on level 1"),
        ((("a", "b"), ("x",)), ((0,),), "as many parents"),
        ((("a", "b"), ("x",)), ((0,), (1,)), "class 'b' needs one id"),
        ((("a", "b"), ("x",)), ((0,), (0, 0)), "class 'b' needs one id"),
        ((("a", "b"), ("x", "y")), ((0,), (0,)), "no class belongs to 'y'"),
    ],
)
def test_what_is_no_tree_is_refused(levels, parents, why):
    with pytest.raises(DataError, match=why):
        Taxonomy(levels, parents)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_summed_probabilities_are_those_of_a_loop_over_the_classes(level):
    taxonomy = Taxonomy.from_mapping(sorted(BIRDS), BIRDS)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=6)
    found = taxonomy.sum_up(probabilities, level)
    truth = np.zeros((6, len(taxonomy.levels[level - 1])))
    for fine, row in enumerate(taxonomy.lift(range(4))):
        for example in range(6):
            truth[example, row[level - 1]] += probabilities[example, fine]
    np.testing.assert_allclose(found, truth)
    np.testing.assert_allclose(found.sum(1), 1)


def test_probabilities_are_summed_for_levels_and_classes_that_exist_only():
    taxonomy = Taxonomy.from_mapping(["a", "b"], {"a": "x", "b": "x"})
    for level in (0, 3):
        with pytest.raises(ValueError, match=f"level must be from 1 to 2, not {level}"):
            taxonomy.sum_up(np.zeros((1, 2)), level)
    with pytest.raises(DataError, match=r"probabilities of 2 classes are needed, got \(1, 3\)"):
        taxonomy.sum_up(np.zeros((1, 3)), 2)


def test_labels_outside_the_classes_are_refused():
    taxonomy = Taxonomy.from_mapping(["a", "b"], {"a": "x", "b": "x"})
    for label in (-1, 2):
        with pytest.raises(DataError, match="labels must be"):
            taxonomy.lift([0, label])
    for label in (0.5, "0", None):
        with pytest.raises(TypeError, match="fine_labels must be a whole number"):
            taxonomy.lift([0, label])


def test_a_bad_description_is_refused():
    with pytest.raises(DataError, match="not a description of a taxonomy"):
        Taxonomy.from_dict({"levels": [["a"]]})
