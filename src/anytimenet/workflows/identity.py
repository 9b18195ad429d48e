"""What was chosen as JSON values: to tell one run from another, and for a bundle's provenance."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from anytimenet.core.version import __version__
from anytimenet.data import AnyAugmentation, DataSplits, Mixing, augmentation_to_dict
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.forms import other_forms
from anytimenet.nets.members.specs import origin_of
from anytimenet.nets.prefixes import has_prefix, split_name
from anytimenet.schemes.teacher import Teacher
from anytimenet.tasks import Task
from anytimenet.training import TrainConfig
from anytimenet.workflows.teachers import teacher_identity


def described(value: Any) -> Any:
    """JSON values of `value`: a dataclass by its class and fields, another object by the name of its class.

    The same choice has the same description in every process: nothing of it is an address.

    >>> from anytimenet.tasks import Segmentation
    >>> note = described(Segmentation((2,), class_weights=(1, 3)))
    >>> note["class"], note["class_weights"], note["augmentation"]
    ('Segmentation', [1.0, 3.0], None)
    >>> described(object())
    'object'
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON knows no such number
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: described(getattr(value, field.name)) for field in fields(value)}
        return {"class": type(value).__name__, **parts}
    return getattr(value, "__qualname__", type(value).__name__)


def run_identity(
    net: AnytimeNet,
    splits: DataSplits,
    task: Task,
    mixing: Mixing | None,
    init: str | None,
    teacher: Teacher | None,
) -> dict[str, Any]:
    """What else than the configuration tells one run from another; compared when a run is resumed."""
    identity = {
        **net_identity(net),
        "data": splits.fingerprint,
        "task": described(task),
        "mixing": None if mixing is None else repr(mixing),
        "images": {
            "preprocessing": splits.preprocessing.to_dict(),
            "weights": None if net.pretraining is None else net.pretraining.source,
        },
    }
    if init is not None:
        identity["init"] = init
    if teacher is not None:
        identity["teacher"] = teacher_identity(teacher)
    return identity


def net_identity(net: AnytimeNet) -> dict[str, Any]:
    """What tells one net from another when a run is resumed."""
    if net.origin is None:
        structure = hashlib.sha256(repr(net).encode()).hexdigest()[:16]
        return {"net": type(net).__name__, "net_args": {"structure": structure}}
    identity: dict[str, Any] = {"net": net.origin.name, "net_args": net.origin.arguments}
    if net.origin.keep:
        identity["kept_stages"] = list(net.origin.keep)
    origin = origin_of(net)
    if origin is not None and (forms := other_forms(origin)):
        identity["net_forms"] = forms
    return identity


def provenance_of(
    net: AnytimeNet,
    splits: DataSplits,
    config: TrainConfig,
    task: Task,
    augmentation: AnyAugmentation | None,
    best_epoch: int,
) -> dict[str, Any]:
    """What a bundle remembers of the run that made it, as JSON values."""
    return {
        "data": {
            "name": splits.name,
            "fingerprint": splits.fingerprint,
            "options": splits.options and splits.options.to_dict(),
        },
        "config": config.to_dict(),
        "augmentation": augmentation_to_dict(augmentation),
        "task": described(task),
        **({} if splits.mask_classes is None else {"masks": splits.mask_classes.to_dict()}),
        **({} if net.pretraining is None else {"weights": net.pretraining.source}),
        "best_epoch": best_epoch,
        "seed": config.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "anytimenet": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            **_package_of(net),
        },
    }


def _package_of(net: AnytimeNet) -> dict[str, str]:
    """The version of the package that the net is of, by its name; of a net from here nothing."""
    if net.origin is None or not has_prefix(net.origin.name):
        return {}
    package = split_name(net.origin.name)[0].package
    return {package: importlib.metadata.version(package)}
