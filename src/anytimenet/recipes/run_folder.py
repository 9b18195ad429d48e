"""Folders of runs: no run is lost, mixed with another one, or deleted for one that cannot start."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from anytimenet.core.errors import TrainingError
from anytimenet.core.launched import launched_rank

_RUN_FILES = (
    "bundle",
    "checkpoints",
    "curve.png",
    "experiment.json",
    "log.jsonl",
    "masks.png",
    "report.csv",
    "report.json",
    "spread.json",
    "summary.txt",
    "tensorboard",
)


def claim_folder(folder: Path, *, resume: bool, overwrite: bool, seeds: bool = False) -> None:
    """Makes sure that a run may go into `folder`; of several processes the first one does.

    Nothing is deleted yet: `clear_folder` does that when the run is known to start.

    Raises:
        TrainingError: if the folder holds what would be lost or mixed, with the ways out.
    """
    if launched_rank() > 0:
        return
    if (folder / "joint").is_dir():
        raise TrainingError(f"{folder} holds runs of recipes.run_alone: choose another out=FOLDER")
    single = (folder / "experiment.json").exists()
    several = any(folder.glob("seed-*"))
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


def clear_folder(folder: Path) -> None:
    """Deletes what runs have left in `folder`, and nothing else; of several processes the first one does."""
    if launched_rank() > 0:
        return
    for path in (*(folder / name for name in _RUN_FILES), *folder.glob("seed-*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


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
