"""Several nets side by side: one budget range for all, and savings against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anytimenet.core.records import as_json, stored
from anytimenet.core.scores import ScoreSpec
from anytimenet.evaluation.curves.curve import shared_range
from anytimenet.evaluation.curves.saving import relative_saving
from anytimenet.evaluation.reports.report import Report
from anytimenet.evaluation.reports.spread import Spread
from anytimenet.evaluation.reports.stages import Cost, ReadByName


@dataclass(frozen=True)
class ComparedStage(ReadByName):
    """One stage of one net: in `scores` the mean headline score over runs, an attribute, too; its standard
    deviation if there are several.
    """

    stage: int
    macs: int
    scores: Mapping[str, float] = field(metadata=stored(inline=True))
    sd: float | None


@dataclass(frozen=True)
class Compared:
    """One net among others.

    Attributes:
        label: its name.
        runs: seeds behind the numbers.
        score: what is compared.
        stages: one entry a stage.
        area: mean score over the budget range that all nets share.
        area_log: the same over the logarithm of the budget.
        saving_max: largest relative saving against the first net at a score that one of the first
            net's stages reaches, both curves read with straight lines between stages, as the papers do;
            None for the first net itself, and where no such score is reached.
        saving_mean: the mean over those scores.
        unreached: scores of the first net that this one never reaches.
        uncounted_operators: operators that no rule counts, so that the multiply-adds are not complete.
    """

    label: str
    runs: int
    score: ScoreSpec
    stages: tuple[ComparedStage, ...]
    area: float
    area_log: float
    saving_max: float | None
    saving_mean: float | None
    unreached: int
    uncounted_operators: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values, the score of a stage under its own key."""
        found = as_json(self)
        del found["score"]
        return dict(found)


def compare(items: Sequence[Report | Spread], labels: Sequence[str], cost: Cost = "macs") -> list[Compared]:
    """Puts nets side by side over one budget range, by the headline score of their task.

    Args:
        items: reports of single runs, or spreads over seeds; the first is what savings refer to.
        labels: one name each.
        cost: "macs", "full" or "ms".

    Raises:
        ValueError: for no items, labels that do not match, or different scores.
    """
    if not items or len(items) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(items)} runs: one each is needed")
    score = items[0].headline
    if any(item.headline != score for item in items):
        told = sorted({item.headline.label for item in items})
        raise ValueError(f"{' and '.join(told)} do not compare: give runs of one task")
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
                score=score,
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
    key = item.headline.key
    if isinstance(item, Spread):
        values = [(value.mean, value.sd) for value in item.values]
    else:
        values = [(value, None) for value in item.values]
    return tuple(
        ComparedStage(stage.stage, stage.macs, {key: value}, sd)
        for stage, (value, sd) in zip(item.stages, values, strict=True)
    )
