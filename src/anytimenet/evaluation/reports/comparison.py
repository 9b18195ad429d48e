"""Several nets side by side: one budget range for all, and savings against the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anytimenet.evaluation.curves.curve import shared_range
from anytimenet.evaluation.curves.saving import relative_saving
from anytimenet.evaluation.reports.report import Cost, Report
from anytimenet.evaluation.reports.spread import Spread


@dataclass(frozen=True)
class ComparedStage:
    """One stage of one net: mean accuracy over runs, and its standard deviation if there are several."""

    stage: int
    macs: int
    top1: float
    sd: float | None


@dataclass(frozen=True)
class Compared:
    """One net among others.

    Attributes:
        label: its name.
        runs: seeds behind the numbers.
        stages: one entry a stage.
        area: mean accuracy over the budget range that all nets share.
        area_log: the same over the logarithm of the budget.
        saving_max: largest relative saving against the first net at an accuracy that one of the first
            net's stages reaches, both curves read with straight lines between stages, as the papers do;
            None for the first net itself, and where no such accuracy is reached.
        saving_mean: the mean over those accuracies.
        unreached: accuracies of the first net that this one never reaches.
        uncounted_operators: operators that no rule counts, so that the multiply-adds are not complete.
    """

    label: str
    runs: int
    stages: tuple[ComparedStage, ...]
    area: float
    area_log: float
    saving_max: float | None
    saving_mean: float | None
    unreached: int
    uncounted_operators: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "uncounted_operators": list(self.uncounted_operators)}


def compare(items: Sequence[Report | Spread], labels: Sequence[str], cost: Cost = "macs") -> list[Compared]:
    """Puts nets side by side over one budget range.

    Args:
        items: reports of single runs, or spreads over seeds; the first is what savings refer to.
        labels: one name each.
        cost: "macs", "full" or "ms".

    Raises:
        ValueError: for no items, or labels that do not match.
    """
    if not items or len(items) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(items)} runs: one each is needed")
    curves = [item.curve(cost) for item in items]
    low, high = shared_range(curves)
    found = []
    for item, curve, label in zip(items, curves, labels, strict=True):
        saving = relative_saving(curve, curves[0], interpolate=True)
        first = curve is curves[0]
        found.append(
            Compared(
                label=label,
                runs=item.runs if isinstance(item, Spread) else 1,
                stages=_stages(item),
                area=curve.area(low, high),
                area_log=curve.area(low, high, log=True),
                saving_max=None if first else saving.maximum,
                saving_mean=None if first else saving.mean,
                unreached=0 if first else saving.unreached,
                uncounted_operators=item.uncounted_operators,
            )
        )
    return found


def _stages(item: Report | Spread) -> tuple[ComparedStage, ...]:
    if isinstance(item, Spread):
        return tuple(ComparedStage(s.stage, s.macs, s.top1.mean, s.top1.sd) for s in item.stages)
    return tuple(ComparedStage(s.stage, s.macs, s.top1, None) for s in item.stages)
