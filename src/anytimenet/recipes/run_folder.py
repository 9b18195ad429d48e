"""Folders of runs: no run is lost, mixed with another one, or deleted for one that cannot start.

A run goes into a folder that is new, empty or proven to hold a run; it replaces what runs write, by name, and
nothing else. Links are taken away and never followed.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from anytimenet.bundle import Bundle
from anytimenet.core.errors import BundleError, TrainingError
from anytimenet.core.launcher import launched_rank
from anytimenet.core.manifest.folder import check_replaceable
from anytimenet.core.manifest.run_proof import check_run_folder, entries_of, holds_run, seed_folders
from anytimenet.evaluation import Report, write_report

_PICTURED = ("report.json", "curve.png")
"""What a bundle carries of the report on it."""
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


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written, and where its files are in it.

    >>> RunFolder(Path("runs/digits")).seed(3).bundle.as_posix()
    'runs/digits/seed-3/bundle'
    """

    path: Path

    @property
    def bundle(self) -> Path:
        """The trained net."""
        return self.path / "bundle"

    @property
    def experiment(self) -> Path:
        """What is run; it is there from the start."""
        return self.path / "experiment.json"

    @property
    def log(self) -> Path:
        """A line a step."""
        return self.path / "log.jsonl"

    @property
    def masks(self) -> Path:
        """Of a net for segmentation: one test image at every stage."""
        return self.path / "masks.png"

    @property
    def summary(self) -> Path:
        """What came out, for anyone; it is written last."""
        return self.path / "summary.txt"

    @property
    def last_checkpoint(self) -> Path:
        """What `resume` goes on from."""
        return self.path / "checkpoints" / "last.safetensors"

    def seed(self, number: int) -> RunFolder:
        """The folder of one of several runs, each with a seed of its own."""
        return RunFolder(self.path / f"seed-{number}")

    @property
    def is_finished(self) -> bool:
        """Whether a run has written everything."""
        return all(path.exists() for path in (self.summary, self.path / "report.json", self.bundle))

    def write_results(self, bundle: Bundle, report: Report) -> None:
        """Writes report.json, report.csv and curve.png, and the bundle with report and curve in it."""
        write_report(report, self.path)
        pictured = {name: self.path / name for name in _PICTURED}
        bundle.save(self.bundle, extra_files=pictured, overwrite=True)

    def claim(self, *, resume: bool, overwrite: bool, seeds: bool = False) -> None:
        """Makes sure that a run may go in; of several processes the first one does.

        Nothing is deleted yet: `clear` does that when the run is known to start.

        Raises:
            TrainingError: if the folder holds what would be lost or mixed, with the ways out.
        """
        if launched_rank() > 0:
            return
        check_run_folder(self.path)
        if (self.path / "joint").is_dir():
            raise TrainingError(f"{self.path} holds runs of recipes.run_alone: choose another out=FOLDER")
        several = bool(seed_folders(self.path))
        single = not several and bool(entries_of(self.path)) and holds_run(self.path)
        if resume:
            in_the_way = single if seeds else several
        else:
            # Each of several runs looks into its own folder.
            in_the_way = single if seeds else single or several
        if in_the_way and not overwrite:
            raise TrainingError(
                f"{self.path} holds {'runs with several seeds' if several else 'a run'} already: choose "
                "another out=FOLDER, replace what is there with overwrite=True, or go on with resume=True "
                "and the same settings"
            )
        if resume and not seeds and not self.last_checkpoint.exists():
            print(
                f"there is no checkpoint in {self.path} yet: training starts from the beginning",
                file=sys.stderr,
            )

    def check_clearable(self) -> None:
        """Raises TrainingError if `clear` would have to delete what no run wrote, or could not delete."""
        if launched_rank() > 0 or not entries_of(self.path):
            return
        check_run_folder(self.path)
        for path in (self.path / name for name in (*_FILES, *_FOLDERS)):
            if not path.is_symlink() and path.exists() and path.is_dir() != (path.name in _FOLDERS):
                raise TrainingError(f"{path} is not what a run writes there: move it away first")
        if not self.bundle.is_symlink():
            try:
                check_replaceable(self.bundle)
            except BundleError as error:
                raise TrainingError(str(error)) from error
        for seed in seed_folders(self.path):
            if not seed.is_symlink():
                RunFolder(seed).check_clearable()
        for place in (self.path, self.bundle, *(self.path / name for name in _FOLDERS)):
            if place.is_dir() and not place.is_symlink() and not os.access(place, os.W_OK | os.X_OK):
                raise TrainingError(
                    f"nothing can be deleted in {place}: make it writable, or choose another out=FOLDER"
                )

    def clear(self) -> None:
        """Deletes what runs have left, and nothing else; of several processes the first one does.

        Everything is looked at before the first file is deleted.

        Raises:
            TrainingError: as `check_clearable`.
        """
        if launched_rank() > 0:
            return
        self.check_clearable()
        for name, patterns in _FOLDERS.items():
            place = self.path / name
            if place.is_symlink():
                place.unlink()
            elif place.is_dir():
                for pattern in patterns:
                    for path in place.glob(pattern):
                        path.unlink()
                _remove_if_empty(place)
        for seed in seed_folders(self.path):
            if seed.is_symlink():
                seed.unlink()
            else:
                RunFolder(seed).clear()
                _remove_if_empty(seed)
        if self.bundle.is_symlink():
            self.bundle.unlink()
        elif self.bundle.is_dir():
            shutil.rmtree(self.bundle)  # `check_replaceable` found nothing in it but the bundle's files
        for name in _FILES:  # the proof that this is a run goes with them, after all else
            (self.path / name).unlink(missing_ok=True)

    def check_apart(self, **sources: Path | str | None) -> None:
        """Raises TrainingError if a bundle that a run starts or learns from lies in what it replaces."""
        for name, source in sources.items():
            if source is None:
                continue
            place = Path(source).resolve()
            if self.path.resolve() in (place, *place.parents):
                raise TrainingError(
                    f"overwrite=True would delete {source}, which is given as {name}: choose another "
                    "out=FOLDER"
                )


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
