"""What the scores of a task are: their names, units, and which of them have an interval."""

from __future__ import annotations

from dataclasses import dataclass

from anytimenet.core.checks import flag, settle, words


@dataclass(frozen=True)
class ScoreSpec:
    """One score of a stage; higher is better for the headline, the first of a task's scores.

    Attributes:
        key: its name in JSON and as an attribute: `stage.top1`.
        label: what tables and axes call it.
        unit: "%" for a fraction from 0 to 1 that is shown in percent, else what its numbers count, as "dB".
        interval: whether `KEY_low` and `KEY_high` bound a 95 % interval around it.
        in_table: whether the table of the stages has a column of it.

    Raises:
        TypeError, ValueError: for a field of another kind.

    >>> ScoreSpec("top1", "accuracy", interval=True).shown(0.974), ScoreSpec("psnr", "PSNR", "dB").title
    ('97.4', 'PSNR dB')
    """

    key: str
    label: str
    unit: str = "%"
    interval: bool = False
    in_table: bool = True

    def __post_init__(self) -> None:
        for name, check in (("key", words), ("label", words), ("unit", words)):
            settle(self, name, check)
        for name in ("interval", "in_table"):
            settle(self, name, flag)

    @property
    def is_share(self) -> bool:
        """Whether it is a fraction from 0 to 1."""
        return self.unit == "%"

    @property
    def title(self) -> str:
        """The header of its column."""
        return f"{self.label} {self.unit}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Its key, with those of its interval."""
        return (self.key, f"{self.key}_low", f"{self.key}_high") if self.interval else (self.key,)

    def shown(self, value: float, decimals: int = 1, sign: str = "") -> str:
        """A value in the unit."""
        return f"{100 * value if self.is_share else value:{sign}.{decimals}f}"


CLASSIFICATION = (
    ScoreSpec("top1", "accuracy", interval=True),
    ScoreSpec("top5", "top-5 accuracy", interval=True, in_table=False),
    ScoreSpec("ece", "calibration error", in_table=False),
    ScoreSpec("nll", "negative log likelihood", "nats", in_table=False),
    ScoreSpec("failure_auroc", "AUROC of wrong answers", in_table=False),
)
SEGMENTATION = (ScoreSpec("mean_iou", "mean IoU"), ScoreSpec("pixel_accuracy", "pixel accuracy"))
