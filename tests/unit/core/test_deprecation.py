"""Deprecated names work, warn at the line that uses them, and go when they said they would."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import pytest
from packaging.version import Version

import anytimenet
from anytimenet.core import deprecation
from anytimenet.core.deprecation import deprecated

SOURCES = Path(anytimenet.__file__).parent
CALL = re.compile(r"deprecated\([^)]*removed_in=\"([\d.]+)\"", re.DOTALL)


def old(stacklevel: int = 1) -> None:
    deprecated("old", since="0.2.0", removed_in="0.4.0", instead="new", stacklevel=stacklevel)


def through() -> None:
    old(stacklevel=2)


@pytest.mark.parametrize("call", [old, through])
def test_the_warning_names_the_line_that_has_to_change(call: object) -> None:
    with pytest.warns(
        DeprecationWarning, match=r"old is deprecated since 0\.2\.0 .* 0\.4\.0: use new"
    ) as told:
        call()  # type: ignore[operator]
    assert told[0].filename == __file__


def test_no_deprecated_name_outlives_its_version() -> None:
    now = Version(anytimenet.__version__)
    calls = {
        path.name: found
        for path in SOURCES.rglob("*.py")
        if path != Path(deprecation.__file__) and (found := CALL.findall(path.read_text(encoding="utf-8")))
    }
    assert calls
    late = {name for name, versions in calls.items() for version in versions if Version(version) <= now}
    assert not late, f"remove what these files deprecate, or say a later version: {late}"


def test_a_renamed_function_is_still_found_under_its_old_name() -> None:
    evaluation = importlib.import_module("anytimenet.evaluation")
    with pytest.warns(DeprecationWarning, match=r"evaluation\.judge_levels .*: use .*\.evaluate_selection"):
        function = evaluation.judge_levels
    assert function is evaluation.evaluate_selection
    assert "judge_levels" not in evaluation.__all__


def test_the_names_of_evaluation_do_not_warn() -> None:
    evaluation = importlib.import_module("anytimenet.evaluation")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(getattr(evaluation, name) is not None for name in evaluation.__all__)
