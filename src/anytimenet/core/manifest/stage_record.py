"""What `bundle.json` says of one stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from anytimenet.core.checks import all_words, fraction, fractions, optional, raised_as, settle, whole_number
from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.folder import IN_BUNDLE
from anytimenet.core.records import Record, stored

STEPS = "steps"
"""Extension of a bundle: for each stage what the way to it costs, which its record does not say."""
STEP_COSTS = ("macs_step", "macs_cumulative", "msd", "params_cumulative")
_KEYS = (
    *("stage", "macs", "full", "params", "val_accuracy", "coarser_val_accuracies"),
    *("uncounted_operators", "macs_complete"),
)


@dataclass(frozen=True)
class StageRecord(Record):
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
    coarser_val_accuracies: tuple[float, ...] = field(default=(), metadata=stored(brief=True))
    uncounted_operators: tuple[str, ...] = ()
    json_form = replace(IN_BUNDLE, keys=_KEYS)

    def __post_init__(self) -> None:
        with raised_as(BundleError, kinds_too=True):
            settle(self, "uncounted_operators", all_words)
            counted = 0 if self.uncounted_operators else 1
            for name, least in (("stage", 1), ("macs", counted), ("full", counted), ("params", 0)):
                settle(self, name, whole_number, least)
            settle(self, "val_accuracy", optional, fraction)
            settle(self, "coarser_val_accuracies", fractions)

    @property
    def macs_complete(self) -> bool:
        """Whether every operator is in the counts."""
        return not self.uncounted_operators

    @classmethod
    def as_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """With what came in format version 3, if it agrees."""
        values = {"macs_complete": True, "uncounted_operators": [], **values}
        complete, uncounted = values["macs_complete"], values["uncounted_operators"]
        if not isinstance(complete, bool) or complete != (uncounted == []):
            raise BundleError(f"macs_complete is {complete!r} and uncounted_operators {uncounted!r}")
        return values
