"""What `bundle.json` says of task, score, input and thresholds, and of a net that was built by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from anytimenet.core.checks import number, optional, raised_as, shown
from anytimenet.core.errors import BundleError
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.core.manifest.fields import json_list, json_object, keys, text, whole
from anytimenet.core.manifest.folder import AGAIN

TASKS = ("classification", "hierarchical", "segmentation")
_SCORES = {"accuracy": "accuracy", "mean_iou": "mean IoU"}


@dataclass(frozen=True)
class TaskRecord:
    """What is predicted, and what it takes to read an output.

    Attributes:
        kind: "classification" gives one label an image, "hierarchical" one a label level, "segmentation" one
            a pixel.
        masks: of segmentation, what the classes of the label maps are.
        decoding: from logits to probabilities.

    Raises:
        BundleError: for a task that this version does not know.
    """

    kind: str = "classification"
    masks: MaskClasses | None = None
    decoding: str = "softmax"

    def __post_init__(self) -> None:
        _known("task: kind", self.kind, TASKS)
        _known("task: decoding", self.decoding, ("softmax",))
        if self.masks is not None and self.kind != "segmentation":
            raise BundleError(f"task: {self.kind} has no masks; {AGAIN}")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`."""
        return {
            "kind": self.kind,
            "decoding": self.decoding,
            "masks": None if self.masks is None else self.masks.to_dict(),
        }

    @classmethod
    def from_dict(cls, value: Any) -> TaskRecord:
        """The inverse of `to_dict`."""
        found = keys(value, "task", ("kind", "decoding", "masks"))
        masks = None if found["masks"] is None else MaskClasses.from_dict(found["masks"])
        return cls(found["kind"], masks, found["decoding"])


@dataclass(frozen=True)
class ScoreRecord:
    """What the validation scores of the stages measure: a fraction from 0 to 1, higher is better.

    Attributes:
        kind: "accuracy", "mean_iou", or what a task of one's own calls its score.
    """

    kind: str = "accuracy"

    def __post_init__(self) -> None:
        text(self.kind, "score: kind")

    @property
    def in_words(self) -> str:
        """As tables and the card call it."""
        return _SCORES.get(self.kind, self.kind)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`."""
        return {"kind": self.kind, "range": [0, 1], "better": "higher"}

    @classmethod
    def from_dict(cls, value: Any) -> ScoreRecord:
        """The inverse of `to_dict`."""
        found = keys(value, "score", ("kind", "range", "better"))
        _known("score: range", found["range"], ([0, 1],))
        _known("score: better", found["better"], ("higher",))
        return cls(found["kind"])


@dataclass(frozen=True)
class InputRecord:
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

    def __post_init__(self) -> None:
        _known("input: kind", self.kind, ("images",))
        _known("input: dtype", self.dtype, ("float32",))
        object.__setattr__(self, "shape", tuple(json_list(self.shape, "input: shape")))
        for size in self.shape:
            whole(size, "input: shape", 1)
        if self.smallest is not None:
            object.__setattr__(self, "smallest", tuple(json_list(self.smallest, "input: smallest")))
            for size in self.smallest:
                whole(size, "input: smallest", 1)
        if self.multiple_of is not None:
            whole(self.multiple_of, "input: multiple_of", 1)
        if not (self.fixed is None or isinstance(self.fixed, bool)):
            raise BundleError(f"input: fixed must be true, false or null, not {shown(self.fixed)}")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any) -> InputRecord:
        """The inverse of `to_dict`."""
        return cls(**keys(value, "input", ("kind", "shape", "dtype", "smallest", "multiple_of", "fixed")))


@dataclass(frozen=True)
class Thresholds:
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

    def __post_init__(self) -> None:
        text(self.policy, "thresholds: policy")
        object.__setattr__(self, "values", tuple(json_list(self.values, "thresholds: values")))
        object.__setattr__(self, "about", json_object(self.about, "thresholds: about"))
        with raised_as(BundleError, kinds_too=True):
            values = tuple(optional(value, "thresholds: values", number) for value in self.values)
        object.__setattr__(self, "values", values)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any) -> Thresholds:
        """The inverse of `to_dict`."""
        return cls(**keys(value, "thresholds", ("policy", "values", "about")))


@dataclass(frozen=True)
class Structure:
    """How a net built by hand is recognised: nothing but its code can build it again.

    Attributes:
        class_name: of the net.
        tensors: SHA-256 of the names, shapes and dtypes of its tensors.
        parts: SHA-256 of which stages use what.

    Raises:
        BundleError: for hashes that are none.
    """

    class_name: str
    tensors: str
    parts: str

    def __post_init__(self) -> None:
        text(self.class_name, "structure: class")
        for name in ("tensors", "parts"):
            value = getattr(self, name)
            if not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
                raise BundleError(f"structure: {name} must be 64 hexadecimal digits, not {shown(value)}")

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

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`."""
        return {
            "class": self.class_name,
            "tensors_sha256": self.tensors,
            "parts_sha256": self.parts,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, value: Any) -> Structure:
        """The inverse of `to_dict`; the note is for people."""
        found = keys(value, "structure", ("class", "tensors_sha256", "parts_sha256", "note"))
        return cls(found["class"], found["tensors_sha256"], found["parts_sha256"])


def _known(where: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known or type(value) is not type(known[0]):
        raise BundleError(
            f"{where} is {shown(value)}, which this anytimenet does not know (it knows "
            f"{', '.join(map(str, known))}): upgrade anytimenet"
        )
