"""experiment.json: everything that a run was started with, as a file that starts it again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytimenet.core import checks
from anytimenet.core.delivery.addresses import is_url
from anytimenet.core.errors import ExperimentError
from anytimenet.core.files.regular import read_json
from anytimenet.core.files.writing import write_json
from anytimenet.core.records import from_json
from anytimenet.recipes.experiment import Experiment
from anytimenet.recipes.run_folder import RunFolder

FORMAT = "anytimenet-experiment"
VERSION = 1


@dataclass(frozen=True)
class StartedExperiment:
    """An experiment with where it came from and what it starts from.

    Attributes:
        experiment: what is run.
        recipe: the name of the recipe that it was, changed or not; empty for none.
        init: the bundle or checkpoint whose weights are the start; None for fresh ones.
        teacher: a bundle that the stages learn from.
    """

    experiment: Experiment
    recipe: str = ""
    init: Path | str | None = None
    teacher: Path | str | None = None

    def __post_init__(self) -> None:
        # It names the folder of a run, and the file may come from elsewhere.
        if not isinstance(self.recipe, str) or not re.fullmatch(r"(\w[\w-]*)?", self.recipe):
            raise ValueError(f"recipe must be the name of a recipe, not {checks.shown(self.recipe)}")
        if not is_url(self.init):
            checks.settle(self, "init", checks.optional, checks.path)
        checks.settle(self, "teacher", checks.optional, checks.path)

    def write(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        starts = {"init": self.init, "teacher": self.teacher}
        about: dict[str, Any] = {"format": FORMAT, "version": VERSION, "recipe": self.recipe}
        about |= {name: None if one is None else str(one) for name, one in starts.items()}
        write_json(path, {**about, **self.experiment.to_dict()})

    @classmethod
    def read(cls, path: Path | str) -> StartedExperiment:
        """The experiment in a file, or in the folder of a run.

        A key that is left out has its default; only data and net have none. Paths are as they were given.
        What is of the machine is not stored: where data by name and its cache are, processes that decode.

        Raises:
            ExperimentError: for an unknown key, a value of a wrong type or range, or a later version.
            OSError: if it cannot be read.
        """
        path = checks.path(path, "config")
        if path.is_dir() and not RunFolder(path).experiment.exists():
            inside = sorted(path.glob("*/experiment.json"))
            several = f"; it holds several runs, give one: {inside[0].parent}" if inside else ""
            raise ExperimentError(f"{path} has no experiment.json{several}")
        path = RunFolder(path).experiment if path.is_dir() else path
        try:
            values = read_json(path)
            return _started(values)
        except (ValueError, TypeError) as error:
            raise ExperimentError(f"{path} describes no experiment: {error}") from error


def _started(values: Any) -> StartedExperiment:
    if not isinstance(values, dict):
        raise TypeError(f"it must be a JSON object, not {checks.shown(values)}")
    if (kind := values.pop("format", FORMAT)) != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}, not {checks.shown(kind)}")
    version = checks.whole_number(values.pop("version", VERSION), "version", 1)
    if version > VERSION:
        raise ValueError(
            f"it is of version {version}, and this anytimenet reads {VERSION} at most: upgrade anytimenet"
        )
    about = {name: values.pop(name) for name in ("recipe", "init", "teacher") if name in values}
    return StartedExperiment(from_json(Experiment, values), **about)
