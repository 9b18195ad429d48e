"""Errors that a person can act on: each message names the cause and the cure."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from difflib import get_close_matches
from types import ModuleType


class AnytimeNetError(Exception):
    """Base of the errors that this project raises for bad input; the command line prints them as one line."""


class BundleError(AnytimeNetError, ValueError):
    """A bundle is missing, truncated, tampered with, or of another format."""


class DataError(AnytimeNetError, ValueError):
    """Images, labels or a taxonomy cannot be used as they are."""


class CostTableError(AnytimeNetError, ValueError):
    """A cost table is malformed or belongs to another machine."""


class BackendError(AnytimeNetError, RuntimeError):
    """A backend cannot run what it is given, or not on this machine; the message says what would help."""


class SessionError(AnytimeNetError, RuntimeError):
    """A session is asked for what it cannot do any more: it was cancelled, or it is running already."""


class DeliveryError(AnytimeNetError, OSError):
    """A bundle cannot be brought from where it is: no connection, a refused address, too large."""


class UnreachableError(DeliveryError):
    """The way is cut at the moment: no connection, silence, an overloaded server. What came is kept."""


class ExperimentError(AnytimeNetError, ValueError):
    """A file is no description of an experiment, or one of a later version."""


class TrainingError(AnytimeNetError, RuntimeError):
    """Training cannot go on: a non-finite loss, a checkpoint of another run, no space."""


class SharedTrainingError(TrainingError):
    """Training cannot go on in any of several processes; the first of them tells it for all."""


class PretrainedError(AnytimeNetError, ValueError):
    """Pretrained weights are not those that this version knows, or a net has none."""


class MissingExtraError(AnytimeNetError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class StatisticsMissingError(AnytimeNetError, ValueError):
    """A net that estimates its BatchNorm statistics after training is asked for a prediction before that."""


class NotFiniteError(AnytimeNetError, ValueError):
    """A stage answers with NaN or infinity, from which no class can be read."""

    @classmethod
    def of_stage(cls, stage: int) -> NotFiniteError:
        """The error of stage `stage`, counted from 1."""
        return cls(
            f"stage {stage} answers with numbers that are not finite (NaN or infinity), so that its answers "
            "mean nothing: its weights or BatchNorm statistics are broken"
        )


class NeedsValuesError(AnytimeNetError, ValueError):
    """A net's builder looks at the values of weights, so that it cannot build on the meta device."""


def require(module: str, extra: str) -> ModuleType:
    """Imports `module`, or says which extra installs it.

    >>> require("json", "train").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{package} is needed here and is not installed: {how_to_install(extra)}"
        ) from error
    except RuntimeError as error:
        # Some packages import torchvision where they find it, and one for another torch raises this.
        raise MissingExtraError(
            f"{module} cannot be imported ({error}): where that names torchvision, it was built for another "
            "torch; install the one that matches, or uninstall it"
        ) from error


def how_to_install(extra: str) -> str:
    """What to type for what an extra brings: the package is on no index yet.

    >>> how_to_install("train")
    "pip install -e '.[train]' in a checkout brings it (once published: pip install 'anytimenet[train]')"
    """
    return (
        f"pip install -e '.[{extra}]' in a checkout brings it (once published: pip install "
        f"'anytimenet[{extra}]')"
    )


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of an 'unknown name' message: the nearest known names, or all of them.

    >>> suggest("digts", ["digits", "folder"])
    "did you mean 'digits'?"
    """
    known = sorted(known)
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "known are: " + ", ".join(known)
