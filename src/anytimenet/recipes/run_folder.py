"""Folders of runs: no run is lost, mixed with another one, or deleted for one that cannot start.

A run goes into a folder that is new, empty or proven to hold a run; it replaces what runs write, by name, and
nothing else. Links are taken away and never followed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from anytimenet.core.errors import BundleError, TrainingError
from anytimenet.core.launcher import launched_rank
from anytimenet.core.manifest.folder import check_replaceable
from anytimenet.core.manifest.run_proof import check_run_folder, entries_of, holds_run, seed_folders

_FILES = (
    "curve.png",
    "experiment.json",
    "log.jsonl",
    "masks.png",
    "report.csv",
    "report.json",
    "spread.json",
    "summary.txt",
)
_FOLDERS = {
    "checkpoints": (
        "last.safetensors",
        "best.safetensors",
        ".last.safetensors.*.tmp",
        ".best.safetensors.*.tmp",
    ),
    "tensorboard": ("events.out.tfevents.*",),
}
"""Of each folder the names of what runs write into it."""


def claim_folder(folder: Path, *, resume: bool, overwrite: bool, seeds: bool = False) -> None:
    """Makes sure that a run may go into `folder`; of several processes the first one does.

    Nothing is deleted yet: `clear_folder` does that when the run is known to start.

    Raises:
        TrainingError: if the folder holds what would be lost or mixed, with the ways out.
    """
    if launched_rank() > 0:
        return
    check_run_folder(folder)
    if (folder / "joint").is_dir():
        raise TrainingError(f"{folder} holds runs of recipes.run_alone: choose another out=FOLDER")
    several = bool(seed_folders(folder))
    single = not several and bool(entries_of(folder)) and holds_run(folder)
    if resume:
        in_the_way = single if seeds else several
    else:
        # Each of several runs looks into its own folder.
        in_the_way = single if seeds else single or several
    if in_the_way and not overwrite:
        raise TrainingError(
            f"{folder} holds {'runs with several seeds' if several else 'a run'} already: choose another "
            "out=FOLDER, replace what is there with overwrite=True, or go on with resume=True and the same "
            "settings"
        )
    if resume and not seeds and not (folder / "checkpoints" / "last.safetensors").exists():
        print(f"there is no checkpoint in {folder} yet: training starts from the beginning", file=sys.stderr)


def check_clearable(folder: Path) -> None:
    """Raises TrainingError if `clear_folder` would have to delete what no run wrote, or could not delete."""
    if launched_rank() > 0 or not entries_of(folder):
        return
    check_run_folder(folder)
    for path in (*(folder / name for name in _FILES), *(folder / name for name in _FOLDERS)):
        if not path.is_symlink() and path.exists() and path.is_dir() != (path.name in _FOLDERS):
            raise TrainingError(f"{path} is not what a run writes there: move it away first")
    if not (folder / "bundle").is_symlink():
        try:
            check_replaceable(folder / "bundle")
        except BundleError as error:
            raise TrainingError(str(error)) from error
    for seed in seed_folders(folder):
        if not seed.is_symlink():
            check_clearable(seed)
    for place in (folder, *(folder / name for name in ("bundle", *_FOLDERS))):
        if place.is_dir() and not place.is_symlink() and not os.access(place, os.W_OK | os.X_OK):
            raise TrainingError(
                f"nothing can be deleted in {place}: make it writable, or choose another out=FOLDER"
            )


def clear_folder(folder: Path) -> None:
    """Deletes what runs have left in `folder`, and nothing else; of several processes the first one does.

    Everything is looked at before the first file is deleted.

    Raises:
        TrainingError: as `check_clearable`.
    """
    if launched_rank() > 0:
        return
    check_clearable(folder)
    for name, patterns in _FOLDERS.items():
        place = folder / name
        if place.is_symlink():
            place.unlink()
        elif place.is_dir():
            for pattern in patterns:
                for path in place.glob(pattern):
                    path.unlink()
            _remove_if_empty(place)
    for seed in seed_folders(folder):
        if seed.is_symlink():
            seed.unlink()
        else:
            clear_folder(seed)
            _remove_if_empty(seed)
    bundle = folder / "bundle"
    if bundle.is_symlink():
        bundle.unlink()
    elif bundle.is_dir():
        shutil.rmtree(bundle)  # `check_replaceable` found nothing in it but the bundle's files
    for name in _FILES:  # the proof that this is a run goes with them, after all else
        (folder / name).unlink(missing_ok=True)


def check_apart(folder: Path, **sources: Path | str | None) -> None:
    """Raises TrainingError if a bundle that the run starts from or learns from lies in what it replaces."""
    for name, source in sources.items():
        if source is None:
            continue
        place = Path(source).resolve()
        if folder.resolve() in (place, *place.parents):
            raise TrainingError(
                f"overwrite=True would delete {source}, which is given as {name}: choose another out=FOLDER"
            )


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
