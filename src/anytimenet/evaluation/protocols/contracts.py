"""Exits that keep a contract: what they may cost or get wrong, on images like those they were solved on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from anytimenet.core import checks
from anytimenet.core.manifest.records import Thresholds
from anytimenet.core.records import JsonForm, Record
from anytimenet.evaluation.protocols.exit_data import ExitData, ExitSummary
from anytimenet.evaluation.text.units import format_count

Target = Literal["max_mean_cost", "min_accuracy", "max_disagreement"]

ROUNDING = 1e-9


@dataclass(frozen=True)
class Contract(Record):
    """What exits must keep on images like those they were solved on.

    Attributes:
        target: "max_mean_cost": the mean cost of an image; "min_accuracy": the share that is answered right;
            "max_disagreement": the share that is not answered as the last stage does.
        limit: of it; a cost in the unit of the stage costs, or a fraction.
        confidence: the probability, over draws of the images it was solved on, that the limit holds; None for
            a limit that holds on average over such draws.

    Raises:
        TypeError, ValueError: for values that no contract has.

    >>> Contract("min_accuracy", 0.95).in_words
    'accuracy at least 0.95, with confidence 0.95'
    """

    target: Target
    limit: float
    confidence: float | None = 0.95
    json_form = JsonForm(what="a contract of exits", strict=True)

    def __post_init__(self) -> None:
        checks.settle(self, "target", checks.choice, get_args(Target))
        if self.target == "max_mean_cost":
            checks.settle(self, "limit", checks.number, above=0)
        else:
            checks.settle(self, "limit", checks.fraction)
        checks.settle(self, "confidence", checks.optional, checks.number, above=0, below=1)

    @property
    def in_words(self) -> str:
        """The contract as a sentence has it."""
        what = {
            "max_mean_cost": "mean cost at most",
            "min_accuracy": "accuracy at least",
            "max_disagreement": "disagreement with the last stage at most",
        }[self.target]
        sure = "on average" if self.confidence is None else f"with confidence {self.confidence:g}"
        limit = f"{self.limit:g}" if self.limit <= 1 else format_count(self.limit)
        return f"{what} {limit}, {sure}"

    def loss(self, data: ExitData) -> np.ndarray:
        """0 or 1 of each stage and example: what candidates weigh against cost."""
        return (~(data.agrees if self.target == "max_disagreement" else data.right)).astype(np.float64)

    def reached(self, summary: ExitSummary) -> float:
        """What the contract speaks of, in a summary."""
        names = {"max_mean_cost": "mean_cost", "min_accuracy": "accuracy", "max_disagreement": "disagreement"}
        return float(getattr(summary, names[self.target]))

    def holds(self, summary: ExitSummary) -> bool:
        """Whether the limit is kept by a mean, as it is."""
        found, slack = self.reached(summary), ROUNDING * max(self.limit, 1)
        return found >= self.limit - slack if self.target == "min_accuracy" else found <= self.limit + slack


@dataclass(frozen=True)
class ContractResult(Record):
    """Exits for a contract; "not met" is a result, too.

    Attributes:
        contract: what was asked for.
        policy: the rule that was solved, one of `EXIT_RULES`.
        met: whether exits were found that keep the contract.
        thresholds: to be stored in a bundle; where it is not met, those that come nearest.
        cost: what the costs count, such as "macs_cumulative" or "ms".
        stage_costs: of an example that leaves at each stage.
        tested_on: what came out on the images that judged the candidates.
        learned_on: on those that the candidates were found on.
        tried: candidates that were judged.
        p_value: of the last of them that passed, or of the first where none did; None without a confidence.
        held_out: on images that had no part in it; None before `check_contract`.
        why: why it is not met, and what would help; empty where it is.
    """

    contract: Contract
    policy: str
    met: bool
    thresholds: Thresholds
    cost: str
    stage_costs: tuple[float, ...]
    tested_on: ExitSummary
    learned_on: ExitSummary
    tried: int
    p_value: float | None = None
    held_out: ExitSummary | None = None
    why: str = ""
    json_form = JsonForm(what="exits for a contract", strict=True)

    @property
    def holds_out(self) -> bool | None:
        """Whether the mean on the held-out images keeps the limit; None before they were looked at."""
        return None if self.held_out is None else self.contract.holds(self.held_out)
