"""From the outputs of a net, collected or read from a file, to a report or a budgeted batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anytimenet.core.answers.confidence import Confidence, confidences
from anytimenet.core.errors import DataError
from anytimenet.core.uncounted import uncounted_in
from anytimenet.evaluation.protocols.budgeted_batch import (
    MSDNET_PS,
    BudgetedBatch,
    ExitCost,
    exit_costs,
    sweep_budgeted_batch,
)
from anytimenet.evaluation.protocols.outputs import Outputs
from anytimenet.evaluation.reports.classification import make_report
from anytimenet.evaluation.reports.report import Report
from anytimenet.evaluation.reports.stages import StageLatency
from anytimenet.evaluation.scores.ensembles import Ensemble, ensemble_rule


def report_from_outputs(
    outputs: Outputs,
    *,
    per_class: bool = False,
    ensemble: Ensemble | None = None,
    latencies: Sequence[StageLatency | None] | None = None,
) -> Report:
    """Scores every stage, and a running ensemble of them if one is named; see `make_report`.

    Raises:
        DataError: for logits or labels that are malformed or do not fit each other.
        ValueError: for no such ensemble.

    >>> import numpy as np
    >>> from anytimenet.evaluation.protocols.outputs import OutputCost
    >>> cost = OutputCost(stage=1, macs=10, full=12, params=3, macs_cumulative=10, msd=12)
    >>> outputs = Outputs(((np.array([[2.0, 1.0], [3.0, 1.0]]),),), np.array([[0], [1]]), (cost,))
    >>> report_from_outputs(outputs).stages[0].top1
    0.5
    """
    if ensemble is not None:
        ensemble_rule(ensemble)
    return make_report(
        outputs.logits,
        outputs.labels,
        outputs.costs,
        data=outputs.data,
        split=outputs.split,
        class_names=outputs.class_names or None,
        latencies=latencies,
        per_class=per_class,
        ensemble=ensemble,
        device=outputs.device,
    )


def budgeted_from_outputs(
    val: Outputs,
    outputs: Outputs,
    *,
    confidence: Confidence = "max_probability",
    cost: ExitCost = "macs_cumulative",
    ps: Sequence[float] = MSDNET_PS,
    budgets: Sequence[float] = (),
) -> BudgetedBatch:
    """Solves thresholds on `val` and applies them to `outputs`, fine label level; see `sweep_budgeted_batch`.

    Raises:
        DataError: if the two are outputs of different nets, or the same split of the same data; or for
            budgets where the multiply-adds are not complete.
        ValueError: for no such confidence or cost, no p, or a budget below the first stage's cost.

    >>> import numpy as np
    >>> from anytimenet.evaluation.protocols.outputs import OutputCost
    >>> costs = tuple(OutputCost(k, 10 * k, 12 * k, 3, 10 * k, 12 * k) for k in (1, 2))
    >>> sure, unsure = np.array([[9.0, 1.0], [9.0, 1.0]]), np.array([[9.0, 1.0], [1.0, 1.1]])
    >>> labels = np.array([[0], [0]])
    >>> val = Outputs(((unsure,), (sure,)), labels, costs, split="val")
    >>> test = Outputs(((unsure[::-1],), (sure,)), labels, costs, split="test")
    >>> point = budgeted_from_outputs(val, test, ps=[1.0]).points[0]
    >>> point.shares, point.mean_cost, point.accuracy
    ((0.5, 0.5), 15.0, 1.0)
    """
    if val.costs != outputs.costs or [z.shape[1] for z in val.fine()] != [z.shape[1] for z in outputs.fine()]:
        raise DataError(
            "the validation outputs and the others differ in stages, costs or classes: "
            "thresholds hold for the net they were solved with only"
        )
    if len(budgets) and (uncounted := uncounted_in(outputs.costs)):
        raise DataError(
            f"budgets cannot be kept: no rule counts {', '.join(uncounted)} of this net; give "
            "rules={NAME: MULTIPLY_ADDS} to collect_outputs or evaluate_budgeted, 0 for a free one"
        )
    if _same_images(val, outputs):
        raise DataError(
            f"thresholds solved on the {val.split} split of {val.data or 'some data'} say nothing when "
            "evaluated on the same images: give another split"
        )
    outcomes = outputs.outcomes(confidence=confidence)
    return sweep_budgeted_batch(
        confidences(val.fine(), confidence),
        outcomes.confidence,
        outcomes.right,
        exit_costs(outputs.costs, cost),
        ps=ps,
        budgets=budgets,
        kind=confidence,
        cost=cost,
    )


def _same_images(one: Outputs, other: Outputs) -> bool:
    """Whether both hold the same labels and logits; names cannot tell for datasets without one."""
    return np.array_equal(one.labels, other.labels) and all(
        np.array_equal(a, b) for a, b in zip(one.fine(), other.fine(), strict=True)
    )
