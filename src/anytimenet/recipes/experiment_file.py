"""experiment.json: everything that a run was started with, as a file that starts it again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from anytimenet.core.checks import optional, settle, shown, texts, whole_number
from anytimenet.core.checks import path as checked_path
from anytimenet.core.errors import ExperimentError, suggest
from anytimenet.core.files.regular import read_json
from anytimenet.core.files.writing import write_json
from anytimenet.data import AnyAugmentation, DataOptions, Mixing, augmentation_from
from anytimenet.recipes.experiment import Experiment
from anytimenet.recipes.run_folder import RunFolder
from anytimenet.schemes import scheme_from_dict
from anytimenet.training import TrainConfig

FORMAT = "anytimenet-experiment"
VERSION = 1
Made = TypeVar("Made")


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
        texts((self.recipe,), "recipe")
        settle(self, "init", optional, checked_path)
        settle(self, "teacher", optional, checked_path)

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
        path = checked_path(path, "config")
        path = RunFolder(path).experiment if path.is_dir() else path
        try:
            values = read_json(path)
            return _started(values)
        except (ValueError, TypeError) as error:
            raise ExperimentError(f"{path} describes no experiment: {error}") from error


def _started(values: Any) -> StartedExperiment:
    values = _object(values, "it")
    if (kind := values.pop("format", FORMAT)) != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}, not {shown(kind)}")
    version = whole_number(values.pop("version", VERSION), "version")
    if version > VERSION:
        raise ValueError(
            f"it is of version {version}, and this anytimenet reads {VERSION} at most: upgrade anytimenet"
        )
    about = {name: values.pop(name) for name in ("recipe", "init", "teacher") if name in values}
    for name, read in _READERS.items():
        if name in values:
            values[name] = _placed(name, read, values[name])
    return StartedExperiment(_made(Experiment, values), **about)


def _config(values: Any) -> TrainConfig:
    values = _object(values, "it")
    if isinstance(values.get("scheme"), Mapping):
        values["scheme"] = _placed("scheme", scheme_from_dict, values["scheme"])
    return _made(TrainConfig, values)


_AUGMENTATIONS = {"class", *(one.name for kind in get_args(AnyAugmentation) for one in fields(kind))}
_READERS: dict[str, Callable[[Any], Any]] = {
    "options": lambda values: _made(DataOptions, values),
    "config": _config,
    "augmentation": lambda values: augmentation_from(_known(_object(values, "it"), _AUGMENTATIONS)),
    "mixing": lambda values: None if values is None else _made(Mixing, values),
}


def _made(kind: type[Made], values: Any) -> Made:
    """The dataclass of a JSON object, whose keys are its fields."""
    values = _known(_object(values, "it"), [one.name for one in fields(kind)])  # type: ignore[arg-type]
    for one in fields(kind):  # type: ignore[arg-type]
        if one.name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise ValueError(f"the key {one.name!r} is missing")
    return kind(**values)


def _known(values: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    for name in values:
        if name not in known:
            raise ValueError(f"it has a key {name!r}, which is none: {suggest(name, known)}")
    return values


def _object(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise TypeError(f"{where} must be a JSON object, not {shown(values)}")
    return dict(values)


def _placed(where: str, read: Callable[[Any], Any], values: Any) -> Any:
    """What `read` makes of a part of the file; errors say which part."""
    try:
        return read(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
