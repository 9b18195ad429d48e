"""Files and folders are whole or absent, whatever goes wrong on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anytimenet.core.files import writing as files
from anytimenet.core.files.temporaries import put_back, sweep, temporary_for
from anytimenet.core.manifest.folder import find_bundle


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

    monkeypatch.setattr(files, "exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", fails_the_second_time)
    with pytest.raises(OSError, match="went away"), files.new_folder(target):
        pass
    assert names(target) == ["old"]
    assert names(tmp_path) == ["bundle"]


# --- writers that were killed -----------------------------------------------------------------------------


def _dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def _left_behind(path: Path, pid: int, kind: str = "tmp", hours: float = 0) -> Path:
    """What a writer of `path` in another process would have left."""
    name = temporary_for(path, kind).name.replace(f"-{os.getpid()}-", f"-{pid}-")
    left = path.with_name(name)
    left.mkdir(parents=True)
    (left / "bundle.json").write_text(kind)
    os.utime(left, (time.time() - 3600 * hours,) * 2)
    return left


def test_there_is_no_moment_without_a_folder_where_two_can_be_exchanged(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    if not files.exchange(one, other):
        pytest.skip("this system cannot exchange two folders")
    assert [(folder / "name").read_text() for folder in (one, other)] == ["other", "one"]
    assert not files.exchange(one, tmp_path / "nowhere")

    def renamed(source, goal):
        raise AssertionError("a rename leaves a moment without a folder")

    monkeypatch.setattr(os, "rename", renamed)
    with files.new_folder(one) as fresh:
        (fresh / "name").write_text("new")
    assert (one / "name").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path):
    dead, alive = _dead_pid(), os.getppid()
    stale = [_left_behind(tmp_path / "bundle", dead), _left_behind(tmp_path / "a.b", dead)]
    (tmp_path / ".last.safetensors.0a1b2c3d.tmp").write_text("of an earlier version")
    os.utime(tmp_path / ".last.safetensors.0a1b2c3d.tmp", (time.time() - 3600 * 25,) * 2)
    stale.append(tmp_path / ".last.safetensors.0a1b2c3d.tmp")
    kept = [
        _left_behind(tmp_path / "bundle", alive),
        _left_behind(tmp_path / "bundle", os.getpid(), hours=48),
        _left_behind(tmp_path / "gone", dead, kind="old"),  # waits to be put back
        tmp_path / ".young.0a1b2c3d.tmp",
        tmp_path / "mine.tmp",
        tmp_path / ".mine.tmp",
        tmp_path / ".mine.0a1b2c3d.tmp.txt",
    ]
    for path in kept[3:]:
        path.write_text("x")
        os.utime(path, (time.time() - 3600 * (1 if "young" in path.name else 48),) * 2)
    far = tmp_path / ".bundle.ffffff-1-0a1b2c3d.tmp"  # another machine's: only its age tells
    far.mkdir()
    assert sorted(sweep(tmp_path)) == sorted(stale)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (*kept, far)}
    os.utime(far, (time.time() - 3600 * 25,) * 2)
    assert sweep(tmp_path) == [far]
    assert sweep(tmp_path / "nowhere") == []


def test_saving_sweeps_beside_its_folder(tmp_path):
    left = _left_behind(tmp_path / "bundle", _dead_pid())
    with files.new_folder(tmp_path / "bundle"):
        pass
    assert not left.exists()


def test_a_folder_that_was_being_replaced_is_put_back_and_says_so(tmp_path):
    folder = tmp_path / "bundle"
    _left_behind(folder, _dead_pid())
    _left_behind(folder, os.getppid(), kind="old")
    assert not put_back(folder)  # its writer is alive and about to rename
    _left_behind(folder, _dead_pid(), kind="old")
    with pytest.warns(UserWarning, match="what was there before has been put back"):
        assert find_bundle(folder) == folder
    assert (folder / "bundle.json").read_text() == "old"
    assert not put_back(folder)


def test_a_folder_that_cannot_be_written_is_known_beforehand(tmp_path):
    files.check_writable(tmp_path / "new" / "deep")
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        files.check_writable(tmp_path / "file" / "below")
