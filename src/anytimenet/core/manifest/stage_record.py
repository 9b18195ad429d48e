"""What `bundle.json` says of one stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.fields import json_list, keys, share, text, whole

STEPS = "steps"
"""Extension of a bundle: for each stage what the way to it costs, which its record does not say."""
STEP_COSTS = ("macs_step", "macs_cumulative", "msd", "params_cumulative")
_LATER = "coarser_val_accuracies"  # came with format version 2; left out of the JSON where it is empty
_COUNTED = ("macs_complete", "uncounted_operators")  # came with format version 3


@dataclass(frozen=True)
class StageRecord:
    """What sub-network `stage` alone costs, and how good it was on validation data.

    Attributes:
        stage: counted from 1.
        macs: multiply-adds of its convolutions and linear layers.
        full: the same with the arithmetic of all other layers.
        params: parameters.
        val_accuracy: fraction of validation images whose fine label it got right, of a net that labels pixels
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
    coarser_val_accuracies: tuple[float, ...] = ()
    uncounted_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        uncounted = json_list(self.uncounted_operators, "stages: uncounted_operators")
        names = tuple(text(operator, "stages: uncounted_operators") for operator in uncounted)
        object.__setattr__(self, "uncounted_operators", names)
        known = 0 if names else 1
        for name, least in (("stage", 1), ("macs", known), ("full", known), ("params", 0)):
            object.__setattr__(self, name, whole(getattr(self, name), f"stages: {name}", least))
        if self.val_accuracy is not None:
            object.__setattr__(self, "val_accuracy", share(self.val_accuracy, "stages: val_accuracy"))
        coarser = json_list(self.coarser_val_accuracies, f"stages: {_LATER}")
        object.__setattr__(self, _LATER, tuple(share(one, f"stages: {_LATER}") for one in coarser))

    @property
    def macs_complete(self) -> bool:
        """Whether every operator is in the counts."""
        return not self.uncounted_operators

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`."""
        value = {**asdict(self), "macs_complete": self.macs_complete}
        if not self.coarser_val_accuracies:
            del value[_LATER]
        return value

    @classmethod
    def from_dict(cls, value: Any) -> StageRecord:
        """The inverse of `to_dict`.

        Raises:
            BundleError: if it is malformed.
        """
        names = ("stage", "macs", "full", "params", "val_accuracy")
        value = dict(keys(value, "stages", names, optional=(_LATER, *_COUNTED)))
        complete, uncounted = value.pop("macs_complete", True), value.get("uncounted_operators", [])
        if not isinstance(complete, bool) or complete != (uncounted == []):
            raise BundleError(f"stages: macs_complete is {complete!r} and uncounted_operators {uncounted!r}")
        return cls(**value)
