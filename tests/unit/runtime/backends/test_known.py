"""Backends are found by the class of what they run, and by name."""

import pytest

from anytimenet.core.errors import BackendError
from anytimenet.runtime.backends import known
from anytimenet.runtime.backends.backend import Placement


@pytest.fixture(autouse=True)
def _own_backends(monkeypatch):
    monkeypatch.setattr(known, "_known", {})


class Weights:
    pass


class MoreWeights(Weights):
    pass


def test_a_backend_is_made_for_the_class_it_was_registered_for_and_for_those_below_it():
    known.register_backend(Weights, "toy", lambda source, placement: (source, placement))
    source = MoreWeights()
    assert known.make_backend(source, "toy", Placement(threads=2)) == (source, Placement(threads=2))
    assert known.backends_of(source) == ("toy",)
    assert known.backends_of(object()) == ()


def test_an_unknown_backend_is_refused_with_the_nearest_name():
    known.register_backend(Weights, "onnxruntime", lambda source, placement: None)
    with pytest.raises(BackendError, match="did you mean 'onnxruntime'"):
        known.make_backend(Weights(), "onnxruntme")
    with pytest.raises(BackendError, match="no backend runs an int"):
        known.make_backend(3, "onnxruntime")


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"device": ""}, {"dtype": 32}])
def test_a_placement_that_cannot_be_is_refused(wrong):
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        Placement(**wrong)
