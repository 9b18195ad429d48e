"""Which stage answers: the one rule, before a run and during it.

Of the stages that a budget pays for, or that a run has finished, the best validated answers; of equally good
ones the cheapest. A stage that was not validated answers only where none of them was: then the last, in which
most work went. Where the budget pays for none, the cheapest answers, and is over budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from anytimenet.core.checks import number

Validated = Sequence[float | None]
"""The score of each stage on validation data, higher is better; None for a stage that was not validated."""


def best_stage(
    costs: Sequence[float], validated: Validated | None = None, budget: float = math.inf
) -> tuple[int, bool]:
    """The stage to run within a budget, and whether even the cheapest exceeds it.

    Args:
        costs: of each stage's sub-network, in the unit of the budget; not all nets' costs rise.
        validated: one a stage; None for no stage validated.
        budget: what may be spent.

    Raises:
        TypeError: if the budget is no number.
        ValueError: if it is negative, there are no costs, or not as many validated scores.

    >>> best_stage((10, 20, 30), (0.5, 0.9, 0.9), budget=25), best_stage((10, 20, 30), budget=9)
    ((2, False), (1, True))
    """
    budget = number(budget, "budget", 0, infinite=True)
    if not costs or (validated is not None and len(validated) != len(costs)):
        raise ValueError(
            f"{len(costs)} costs and {len(validated or ())} validated scores: one of each a stage is needed"
        )
    cheapest_first = sorted(range(1, len(costs) + 1), key=lambda stage: (costs[stage - 1], stage))
    stage = standing_stage([k for k in cheapest_first if costs[k - 1] <= budget], validated)
    return (cheapest_first[0], True) if stage is None else (stage, False)


def standing_stage(finished: Sequence[int], validated: Validated | None = None) -> int | None:
    """The stage whose answer stands once these are finished; None if none is.

    Args:
        finished: stages from 1, in the order of what was spent until each answered, as a run finishes them.
            Of equally good ones the first is the cheapest: an answer stands until a better one is there.
        validated: one a stage of the net; None for no stage validated.

    Raises:
        ValueError: for a stage that does not exist.

    >>> standing_stage((1, 3), (0.6, 0.9, 0.5)), standing_stage((1, 2, 3)), standing_stage(())
    (1, 3, None)
    """
    if finished and (min(finished) < 1 or (validated is not None and max(finished) > len(validated))):
        raise ValueError(
            f"finished {tuple(finished)}: stages are counted from 1, one for each validated score"
        )
    scores = {stage: None if validated is None else validated[stage - 1] for stage in finished}
    # A score that is not a number says nothing.
    known = {stage: score for stage, score in scores.items() if score is not None and score == score}
    if known:
        return max(known, key=known.__getitem__)  # of equal ones the first
    return max(scores, default=None)
