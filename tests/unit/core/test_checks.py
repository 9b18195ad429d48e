"""Checks at the door: right values come out as plain Python's, wrong ones are refused by name."""

import math
from pathlib import Path

import numpy as np
import pytest

from anytimenet.core.checks import (
    choice,
    flag,
    folder,
    instance,
    number,
    path,
    several,
    shown,
    whole_number,
    words,
)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_come_out_plain(value: object) -> None:
    assert type(whole_number(value, "n")) is int
    assert whole_number(value, "n") == 3


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, math.nan, [3], b"3"])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(TypeError, match=r"^n must be a whole number"):
        whole_number(value, "n")


@pytest.mark.parametrize("value", [0, -1, 10**400, 2**63])
def test_whole_numbers_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match=r"^n (must be at least 1, not|is too large a number)"):
        whole_number(value, "n", least=1)


def test_numbers_come_out_plain() -> None:
    assert type(number(np.float32(0.5), "x")) is float
    assert type(number(np.int64(2), "x")) is int
    assert number(math.inf, "x", infinite=True) == math.inf
    assert number(1, "x", 1, 1) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan"), 10**400])
def test_numbers_are_finite(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x"):
        number(value, "x")


@pytest.mark.parametrize("value", ["0.5", None, True, 1j, [1.0], np.array([1.0, 2.0])])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(TypeError, match=r"^x must be a number"):
        number(value, "x")


def test_bounds_are_named() -> None:
    with pytest.raises(ValueError, match="warmup must be at least 0 and below 1, not 1"):
        number(1, "warmup", 0, below=1)
    with pytest.raises(ValueError, match=r"lr must be above 0, not 0\.0"):
        number(0.0, "lr", above=0)


def test_flags_are_no_words() -> None:
    assert flag(np.True_, "f") is True
    for value in ("no", 0, 1, None):
        with pytest.raises(TypeError, match="f must be True or False"):
            flag(value, "f")


def test_words_can_be_written() -> None:
    assert words("café", "name") == "café"
    for value in ("", "caf\udce9"):
        with pytest.raises(ValueError, match="name must be non-empty Unicode"):
            words(value, "name")
    with pytest.raises(TypeError, match="name must be text"):
        words(b"x", "name")


def test_choices_suggest() -> None:
    assert choice("cpu", "device", ("cpu", "cuda")) == "cpu"
    with pytest.raises(ValueError, match=r"device .gpu' does not exist: did you mean .cpu"):
        choice("gpu", "device", ("cpu", "cuda"))
    with pytest.raises(TypeError, match="device must be one of cpu, cuda"):
        choice(None, "device", ("cpu", "cuda"))


def test_paths() -> None:
    assert path("a/b", "out") == Path("a/b")
    for value in (None, 3, b"a"):
        with pytest.raises(TypeError, match="out must be a path"):
            path(value, "out")
    for text in ("", "a\0b"):
        with pytest.raises(ValueError, match="out must be a path"):
            path(text, "out")


def test_instances_and_lists() -> None:
    assert instance(3, int, "n", "3") == 3
    with pytest.raises(TypeError, match="net must be int, for example 3, not 'x'"):
        instance("x", int, "net", "3")
    assert several([1, 2], "stages") == (1, 2)
    for value in ("12", b"12", {1: 2}, 12):
        with pytest.raises(TypeError, match="stages must be a list"):
            several(value, "stages")


def test_messages_stay_short() -> None:
    assert len(shown("x" * 1000)) == 60
    assert "int" in shown(10**5000) or "cannot be shown" in shown(10**5000)
    assert shown(np.int64(3)).endswith("(int64)")


def test_a_folder_to_write_into_is_no_file(tmp_path: Path) -> None:
    assert folder(tmp_path, "out") == tmp_path
    assert folder(tmp_path / "new", "out") == tmp_path / "new"
    (tmp_path / "taken").touch()
    with pytest.raises(ValueError, match=r"^out must be a folder, and .*taken.* is a file: choose another"):
        folder(tmp_path / "taken", "out")
