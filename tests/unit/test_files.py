"""Files and folders are whole or absent, whatever goes wrong on the way."""

from __future__ import annotations

import json
import os

import pytest

from anytimenet.core import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path):
    files.write_text(tmp_path / "deep" / "er" / "a.txt", "ä")
    assert (tmp_path / "deep" / "er" / "a.txt").read_bytes() == "ä".encode()
    assert names(tmp_path / "deep" / "er") == ["a.txt"]


def test_an_error_before_the_rename_keeps_the_old_file_and_cleans_up(tmp_path, monkeypatch):
    files.write_text(tmp_path / "a.txt", "old")

    def fails(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="no space"):
        files.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_has_no_word_for_is_refused_and_nothing_is_written(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"x": value})
    assert names(tmp_path) == []
    files.write_json(tmp_path / "a.json", {"x": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, None]}


def test_a_folder_takes_the_place_of_the_old_one_only_when_it_is_complete(tmp_path):
    target = tmp_path / "bundle"
    with files.new_folder(target) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(FileNotFoundError), files.new_folder(target) as folder:
        (folder / "missing" / "two").write_text("2")
    assert names(target) == ["one"]
    with files.new_folder(target) as folder:
        (folder / "three").write_text("3")
    assert names(target) == ["three"]
    assert names(tmp_path) == ["bundle"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("1")
    rename, calls = os.rename, []

    def fails_the_second_time(source, goal):
        calls.append(goal)
        if len(calls) == 2:
            raise OSError("device went away")
        rename(source, goal)

    monkeypatch.setattr(os, "rename", fails_the_second_time)
    with pytest.raises(OSError, match="went away"), files.new_folder(target):
        pass
    assert names(target) == ["old"]
    assert names(tmp_path) == ["bundle"]
