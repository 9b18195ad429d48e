"""The records of `bundle.json`: origin of the net, stages, task, score, input, thresholds, structure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import BundleError
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.core.manifest.folder import AGAIN, IN_BUNDLE
from anytimenet.core.records import Record, stored

TASKS = ("classification", "hierarchical", "segmentation")
OWN = "own"
STEPS = "steps"
"""Extension of a bundle: for each stage what the way to it costs, which its record does not say."""
STEP_COSTS = ("macs_step", "macs_cumulative", "msd", "params_cumulative")
_SCORES = {"accuracy": "accuracy", "mean_iou": "mean IoU"}


@dataclass(frozen=True)
class NetOrigin(Record):
    """How to build the net again.

    Attributes:
        name: the registered name.
        arguments: of its builder, as JSON values.
        keep: the stages that were kept of it; None for all.
        form: the number of the structure that the name stood for; what tells none was saved in form 1.

    Raises:
        BundleError: for a value that cannot be.
    """

    name: str
    arguments: dict[str, Any]
    keep: tuple[int, ...] | None = None
    form: int = 1
    json_form = IN_BUNDLE

    def __post_init__(self) -> None:
        with checks.raised_as(BundleError, kinds_too=True):
            checks.settle(self, "name", checks.words)
            checks.settle(self, "arguments", checks.json_values)
            checks.settle(self, "form", checks.whole_number, 1)
            checks.settle(self, "keep", checks.optional, checks.whole_numbers, 1)
        if self.keep is not None and (not self.keep or list(self.keep) != sorted(set(self.keep))):
            raise BundleError(f"keep must be increasing stages, not {list(self.keep)}")


@dataclass(frozen=True)
class StageRecord(Record):
    """What sub-network `stage` alone costs, and how good it was on validation data.

    Attributes:
        stage: counted from 1.
        macs: multiply-adds of its convolutions and linear layers.
        full: the same with the arithmetic of all other layers.
        params: parameters.
        val_accuracy: fraction of validation images whose fine label it got right, of a segmentation net
            the mean IoU on them; None if not measured.
        coarser_val_accuracies: the fraction for each coarser label level, finer to coarser; empty if there is
            none, or if it was not measured.
        uncounted_operators: operators that it runs and no rule counts, so that `macs` and `full` are not
            complete; empty if they are.

    Raises:
        BundleError: for a value out of range.
    """

    stage: int
    macs: int
    full: int
    params: int
    val_accuracy: float | None = None
    coarser_val_accuracies: tuple[float, ...] = field(default=(), metadata=stored(brief=True))
    uncounted_operators: tuple[str, ...] = ()
    json_form = replace(
        IN_BUNDLE,
        keys=(
            *("stage", "macs", "full", "params", "val_accuracy", "coarser_val_accuracies"),
            *("uncounted_operators", "macs_complete"),
        ),
    )

    def __post_init__(self) -> None:
        with checks.raised_as(BundleError, kinds_too=True):
            checks.settle(self, "uncounted_operators", checks.all_words)
            counted = 0 if self.uncounted_operators else 1
            for name, least in (("stage", 1), ("macs", counted), ("full", counted), ("params", 0)):
                checks.settle(self, name, checks.whole_number, least)
            checks.settle(self, "val_accuracy", checks.optional, checks.fraction)
            checks.settle(self, "coarser_val_accuracies", checks.fractions)

    @property
    def macs_complete(self) -> bool:
        """Whether every operator is in the counts."""
        return not self.uncounted_operators

    @classmethod
    def _as_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """With what came in format version 3, if it agrees."""
        values = {"macs_complete": True, "uncounted_operators": [], **values}
        complete, uncounted = values["macs_complete"], values["uncounted_operators"]
        if not isinstance(complete, bool) or complete != (uncounted == []):
            raise BundleError(f"macs_complete is {complete!r} and uncounted_operators {uncounted!r}")
        return values


@dataclass(frozen=True)
class TaskRecord(Record):
    """What is predicted, and what it takes to read an output.

    Attributes:
        kind: "classification" gives one label an image, "hierarchical" one a label level, "segmentation" one
            a pixel; else a task of one's own.
        masks: of segmentation, what the classes of the label maps are.
        decoding: "softmax" makes probabilities of the logits; `OWN` is what the code of the task does.

    Raises:
        BundleError: for a task that this version does not know.
    """

    kind: str = "classification"
    masks: MaskClasses | None = None
    decoding: str = "softmax"
    json_form = replace(IN_BUNDLE, keys=("kind", "decoding", "masks"))

    def __post_init__(self) -> None:
        _known("decoding", self.decoding, ("softmax", OWN))
        if self.decoding == OWN:
            with checks.raised_as(BundleError, kinds_too=True):
                checks.settle(self, "kind", checks.words)
        else:
            _known("kind", self.kind, TASKS)
        if self.masks is not None and self.kind != "segmentation":
            raise BundleError(f"{self.kind} has no masks; {AGAIN}")

    @classmethod
    def of(cls, kind: str, masks: MaskClasses | None = None) -> TaskRecord:
        """The record of a task of this package, or of another."""
        return cls(kind, masks if kind == "segmentation" else None, "softmax" if kind in TASKS else OWN)


@dataclass(frozen=True)
class ScoreRecord(Record):
    """What the validation scores of the stages measure: a fraction from 0 to 1, higher is better.

    Attributes:
        kind: "accuracy", "mean_iou", or what a task of one's own calls its score.
        range: of the scores.
        better: which of two is.
    """

    kind: str = "accuracy"
    range: tuple[int, int] = field(default=(0, 1), repr=False)
    better: str = field(default="higher", repr=False)
    json_form = IN_BUNDLE

    def __post_init__(self) -> None:
        with checks.raised_as(BundleError, kinds_too=True):
            checks.settle(self, "kind", checks.words)
        _known("range", self.range, ((0, 1),))
        _known("better", self.better, ("higher",))

    @property
    def in_words(self) -> str:
        """As tables and the card call it."""
        return _SCORES.get(self.kind, self.kind)


@dataclass(frozen=True)
class InputRecord(Record):
    """What the net reads; a field of None is not known.

    Attributes:
        kind: "images", standardised as `preprocessing` says.
        shape: of one example, (C, H, W).
        dtype: of the numbers in it; a net in another precision converts them.
        smallest: the least height and width that the net reads.
        multiple_of: what height and width must be multiples of.
        fixed: whether no other height and width than those of `shape` can be read.

    Raises:
        BundleError: for an input that this version does not know.
    """

    shape: tuple[int, ...]
    kind: str = "images"
    dtype: str = "float32"
    smallest: tuple[int, int] | None = None
    multiple_of: int | None = None
    fixed: bool | None = None
    json_form = IN_BUNDLE

    def __post_init__(self) -> None:
        _known("kind", self.kind, ("images",))
        _known("dtype", self.dtype, ("float32",))
        with checks.raised_as(BundleError, kinds_too=True):
            checks.settle(self, "shape", checks.whole_numbers, 1)
            checks.settle(self, "smallest", checks.optional, checks.whole_numbers, 1)
            checks.settle(self, "multiple_of", checks.optional, checks.whole_number, 1)
            checks.settle(self, "fixed", checks.optional, checks.flag)


@dataclass(frozen=True)
class Thresholds(Record):
    """When a run may stop early: one threshold a stage, solved by a policy on validation data.

    Attributes:
        policy: the name of the policy that reads them, such as "max_probability".
        values: one a stage; None where that stage never stops a run.
        about: what they were solved for: target, data, what came out. Any JSON object.

    Raises:
        BundleError: for values that are no finite numbers.
    """

    policy: str
    values: tuple[float | None, ...]
    about: dict[str, Any] = field(default_factory=dict)
    json_form = IN_BUNDLE

    def __post_init__(self) -> None:
        with checks.raised_as(BundleError, kinds_too=True):
            checks.settle(self, "policy", checks.words)
            checks.settle(self, "about", checks.json_values)
            values = [
                checks.optional(value, "values", checks.number)
                for value in checks.several(self.values, "values")
            ]
        object.__setattr__(self, "values", tuple(values))


@dataclass(frozen=True)
class Structure(Record):
    """How a net built by hand is recognised: nothing but its code can build it again.

    Attributes:
        class_name: of the net.
        tensors: SHA-256 of the names, shapes and dtypes of its tensors.
        parts: SHA-256 of which stages use what.

    Raises:
        BundleError: for hashes that are none.
    """

    class_name: str = field(metadata=stored(key="class"))
    tensors: str = field(metadata=stored(key="tensors_sha256"))
    parts: str = field(metadata=stored(key="parts_sha256"))
    json_form = replace(IN_BUNDLE, keys=("class_name", "tensors", "parts", "note"))

    def __post_init__(self) -> None:
        with checks.raised_as(BundleError, kinds_too=True):
            checks.settle(self, "class_name", checks.words)
        for name in ("tensors", "parts"):
            value = getattr(self, name)
            if not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
                raise BundleError(f"{name} must be 64 hexadecimal digits, not {checks.shown(value)}")

    @property
    def note(self) -> str:
        """How such a bundle is loaded."""
        return (
            f"This net was built by hand: build the same {self.class_name} in Python and give it to "
            "anytimenet.load(PATH, net=NET), which fills it with these weights."
        )

    def differences(self, other: Structure) -> Sequence[str]:
        """What is different in another net, in words."""
        found = []
        if self.class_name != other.class_name:
            found.append(f"its class is {other.class_name} and {self.class_name} was saved")
        if self.tensors != other.tensors:
            found.append("its tensors have other names, shapes or dtypes")
        if self.parts != other.parts:
            found.append("its stages use other parts of them")
        return found


def _known(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known or type(value) is not type(known[0]):
        raise BundleError(
            f"{name} is {checks.shown(value)}, which this anytimenet does not know (it knows "
            f"{', '.join(map(str, known))}): upgrade anytimenet"
        )
