"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import anytimenet

MODULES = [
    module.name
    for module in pkgutil.walk_packages(anytimenet.__path__, "anytimenet.")
    if not module.name.endswith("__main__")
]

NEEDS = {"anytimenet.serving.ray_routing": "ray"}
"""What a module cannot be imported without, which these tools do not bring."""


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_examples_are_found_at_all():
    found = doctest.DocTestFinder().find(importlib.import_module("anytimenet.evaluation.curves.curve"))
    assert any(test.examples for test in found)
