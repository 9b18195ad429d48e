"""Whether a folder is the work of this project: told by what is in its files, not by their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anytimenet.core.errors import TrainingError
from anytimenet.core.files.regular import open_regular, parse_json, read_json
from anytimenet.core.manifest.folder import FORMAT, MANIFEST_NAME

_CHECKPOINTS = ("last.safetensors", "best.safetensors")
_CHECKPOINT_FORMAT = "anytimenet-checkpoint"
_REPORT_FILES = ("report.json", "report.csv", "curve.png", "budgeted.json", "chosen_levels.json")
_MOST_HEADER = 2**26


def entries_of(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; hidden files are nobody's work. Nothing where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def holds_run(folder: Path) -> bool:
    """Whether a run was written into `folder`, finished or not; or a bundle with a report."""
    return (
        _has_keys(folder / "experiment.json", "data", "net", "config")
        or any(_is_checkpoint(folder / "checkpoints" / name) for name in _CHECKPOINTS)
        or _is_log(folder / "log.jsonl")
        or (holds_report(folder) and _is_bundle(folder / "bundle"))
    )


def seed_folders(folder: Path) -> list[Path]:
    """The folders of runs with several seeds, `seed-0`, `seed-1` and so on."""
    found = folder.glob("seed-*")
    return sorted(path for path in found if path.name.removeprefix("seed-").isdigit() and path.is_dir())


def check_run_folder(folder: Path) -> None:
    """Checks that a run may write into `folder`.

    Raises:
        TrainingError: unless it is missing, empty or proven to hold a run, runs with several seeds, or a net
            and its stages alone.
    """
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file: choose another out=FOLDER")
    entries = entries_of(folder)
    if not entries or holds_run(folder):
        return
    if any(holds_run(run) for run in (folder / "joint", *seed_folders(folder))):
        return
    if any(holds_run(seed) for seed in seed_folders(folder / "joint")):
        return
    raise TrainingError(
        f"{folder} holds {entries[0].name} and no run, so that it is not known whose files these are: choose "
        "another out=FOLDER, a new or an empty one"
    )


def holds_report(folder: Path) -> bool:
    """Whether `folder` has a report.json that this project wrote."""
    return _has_keys(folder / "report.json", "data", "split", "count", "stages")


def check_report_folder(folder: Path) -> None:
    """Raises ValueError if a report written into `folder` would replace a file that is not this project's."""
    if holds_report(folder) or holds_run(folder):
        return
    for name in _REPORT_FILES:
        if (folder / name).exists():
            raise ValueError(
                f"{folder / name} would be replaced, and no report.json beside it says that it is one of "
                "anytimenet's: choose another out=FOLDER, or move it away first"
            )


def _has_keys(path: Path, *keys: str) -> bool:
    value = _json(path)
    return isinstance(value, dict) and set(keys) <= set(value)


def _is_bundle(folder: Path) -> bool:
    value = _json(folder / MANIFEST_NAME)
    return isinstance(value, dict) and value.get("format") == FORMAT


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _is_checkpoint(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(_MOST_HEADER, os.fstat(file.fileno()).st_size):
                return False
            header = parse_json(file.read(length))
        return str(header["__metadata__"]["format"]).startswith(_CHECKPOINT_FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_log(path: Path) -> bool:
    """Lines of JSON with a step; an empty one is of a run that stopped early, and nothing can be lost."""
    try:
        with open_regular(path) as file:
            line = file.readline(2**20)
        return not line or "step" in parse_json(line)
    except (OSError, ValueError, TypeError):
        return False
