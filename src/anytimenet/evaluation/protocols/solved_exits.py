"""Solves exits for a contract.

The images that thresholds are solved on are divided: on some temperatures are fitted and candidates found and
put in order, on the others they are tested in that order until one fails. So no candidate is judged on what
chose it, and testing many costs no confidence.

With a confidence, each test is a p-value and the order is fixed: "Learn then Test" (Angelopoulos, Bates,
Candes, Jordan and Lei 2021), with the candidates that "Pareto Testing" (Laufer-Goldshtein et al. 2023) would
try. The loss need not fall from candidate to candidate, and of exits it does not: an example may be right at
stage 1 and wrong at 2. Without one, the limit holds on average over draws of images like these, where those
that cannot meet it count as kept: "Conformal Risk Control" (Angelopoulos et al. 2024), of the loss made
monotone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.exit_thresholds import check_costs
from anytimenet.core.errors import DataError
from anytimenet.core.manifest.records import Thresholds
from anytimenet.evaluation.protocols.contracts import ROUNDING, Contract, ContractResult, Target
from anytimenet.evaluation.protocols.exit_candidates import Candidate, candidates
from anytimenet.evaluation.protocols.exit_data import (
    ExitData,
    ExitRule,
    ExitSummary,
    check_rule,
    confidence_of_rule,
)
from anytimenet.evaluation.protocols.outputs import Outputs
from anytimenet.evaluation.scores.risk_bounds import binomial_p_value, hoeffding_bentkus_p_value
from anytimenet.evaluation.scores.temperature import fit_temperature


def solve_contract(
    val: Outputs,
    contract: Contract,
    policy: ExitRule = "max_probability",
    *,
    stage_costs: Sequence[float] | None = None,
    cost: str = "macs_cumulative",
    learn_share: float = 0.5,
    seed: int = 0,
) -> ContractResult:
    """The cheapest exits found that keep a contract; of a mean cost, the most accurate ones.

    Args:
        val: outputs of all stages on images that the net did not learn from. The confidence is that of images
            drawn like these: of images that the net was chosen on it is a little too high.
        contract: what is to be kept.
        policy: what thresholds are compared with, one of `EXIT_RULES`.
        stage_costs: of an image that leaves at each stage, increasing; by default the multiply-adds of all
            steps up to it, every earlier head included.
        cost: what they count.
        learn_share: of the images temperatures and candidates are found on; the rest judges.
        seed: of the division.

    Raises:
        DataError: for fewer than two images, or logits that are not finite.
        ValueError: for no such policy, or costs that do not increase.
    """
    checks.instance(val, Outputs, "val", "collect_outputs(bundle, split='val')")
    checks.instance(contract, Contract, "contract", 'Contract("max_disagreement", 0.01)')
    rule = check_rule(policy)
    checks.number(learn_share, "learn_share", above=0, below=1)
    order = np.random.default_rng(checks.whole_number(seed, "seed")).permutation(val.count)
    learn, judge = np.split(order, [round(learn_share * val.count)])
    if not len(learn) or not len(judge):
        raise DataError(
            f"{val.count} images cannot be divided into those that find exits and those that judge"
        )
    temperatures = (
        ()
        if rule == "patience"
        else tuple(fit_temperature(stage[learn], val.labels[learn, 0]) for stage in val.fine())
    )
    data = ExitData.of(val, rule, temperatures)
    if stage_costs is None:
        stage_costs = [stage.macs_cumulative for stage in val.costs]
    solved = solve_exits(
        *(data.rows(learn), data.rows(judge), contract, rule, stage_costs),
        classes=val.fine()[0].shape[1],
        temperatures=temperatures,
        cost=cost,
    )
    about = {"data": val.data, "split": val.split, "seed": seed, "images": val.count}
    return replace(solved, thresholds=_with_about(solved.thresholds, solved_on=about))


def solve_exits(
    learn: ExitData,
    judge: ExitData,
    contract: Contract,
    rule: str,
    stage_costs: Sequence[float],
    *,
    classes: int,
    temperatures: Sequence[float] = (),
    cost: str = "macs_cumulative",
) -> ContractResult:
    """As `solve_contract`, on examples that were divided already, and by scores of any policy.

    Args:
        learn: examples that find candidates.
        judge: others, that test them.
        contract: what is to be kept.
        rule: the name of the policy, under which thresholds are stored.
        stage_costs: of an example that leaves at each stage, increasing.
        classes: of the fine label level.
        temperatures: with which the scores were made, to be stored.
        cost: what the costs count.

    Raises:
        ValueError: for costs that are not one positive number a stage, or do not increase.

    >>> right = np.ones((2, 300), bool)
    >>> sure = ExitData(np.full((2, 300), 0.9), np.zeros((2, 300), int), right)
    >>> contract = Contract("max_disagreement", 0.02)
    >>> found = solve_exits(sure, sure, contract, "margin", (10.0, 20.0), classes=2)
    >>> found.met, found.tested_on.mean_cost
    (True, 10.0)
    """
    costs = check_costs(stage_costs, learn.num_stages)
    if (np.diff(costs) <= 0).any():
        raise ValueError(f"stage costs {costs.tolist()} do not increase: leaving early would save nothing")
    found = candidates(learn, contract.loss(learn), costs, rule, classes)
    order = found if contract.target == "max_mean_cost" else found[::-1]
    passed, p_value = _passing(judge, contract, order, costs)
    chosen = order[max(passed - 1, 0)]
    tested_on, learned_on = (
        ExitSummary.of(data, data.stages(chosen.thresholds), costs) for data in (judge, learn)
    )
    return ContractResult(
        contract=contract,
        policy=rule,
        met=passed > 0,
        thresholds=_stored(chosen, rule, contract, temperatures, tested_on, cost),
        cost=cost,
        stage_costs=tuple(costs.tolist()),
        tested_on=tested_on,
        learned_on=learned_on,
        tried=min(passed + 1, len(order)),
        p_value=p_value,
        why="" if passed else _why(contract, tested_on, costs),
    )


def check_contract(result: ContractResult, test: Outputs) -> ContractResult:
    """The result with what its exits do on images that had no part in solving them.

    Raises:
        DataError: for outputs of another net, or logits that are not finite.
    """
    if test.num_stages != len(result.stage_costs):
        raise DataError(
            f"the exits were solved for {len(result.stage_costs)} stages and these outputs have "
            f"{test.num_stages}: give those of the same net"
        )
    temperatures = result.thresholds.about["arguments"].get("temperatures", ())
    data = ExitData.of(test, check_rule(result.policy), temperatures)
    return check_exits(result, data, data=test.data, split=test.split)


def check_exits(result: ContractResult, examples: ExitData, **about: str) -> ContractResult:
    """As `check_contract`, by scores of any policy.

    Args:
        result: of `solve_exits`.
        examples: that had no part in it.
        about: where they are from, to be stored.
    """
    stages = examples.stages(threshold_array(result.thresholds))
    summary = ExitSummary.of(examples, stages, np.array(result.stage_costs))
    told = _with_about(result.thresholds, held_out={**about, **summary.to_dict()})
    return replace(result, held_out=summary, thresholds=told)


def threshold_array(thresholds: Thresholds) -> np.ndarray:
    """As `ExitData.stages` reads them."""
    table = thresholds.about["arguments"].get("thresholds", thresholds.values)
    found = np.array(
        [
            [np.inf if value is None else value for value in np.atleast_1d(np.array(row, object))]
            for row in table
        ]
    )
    found[-1] = -np.inf
    return found[:, 0] if found.shape[1] == 1 else found


def _passing(
    judge: ExitData, contract: Contract, order: Sequence[Candidate], costs: np.ndarray
) -> tuple[int, float | None]:
    """How many candidates pass, in order, before one fails, and the p-value that counts."""
    worst, last = np.zeros(judge.count), None
    for place, candidate in enumerate(order):
        losses, limit = _losses(judge, contract, candidate, costs)
        kept = _surely_kept(contract, candidate, costs)
        if contract.confidence is None:
            worst = np.maximum(worst, losses)
            if not kept and (worst.sum() + 1) / (judge.count + 1) > limit + ROUNDING:
                return place, None
            continue
        p_value = 0.0 if kept else _p_value(losses, limit, contract.target)
        if p_value > 1 - contract.confidence:
            return place, p_value if last is None else last
        last = p_value
    return len(order), last


def _losses(
    judge: ExitData, contract: Contract, candidate: Candidate, costs: np.ndarray
) -> tuple[np.ndarray, float]:
    """The loss of each example, from 0 to 1, and the limit of its mean."""
    stages = judge.stages(candidate.thresholds)
    if contract.target != "max_mean_cost":
        limit = 1 - contract.limit if contract.target == "min_accuracy" else contract.limit
        return judge.at(contract.loss(judge), stages), limit
    span = max(costs[-1] - costs[0], ROUNDING)
    return (costs[stages - 1] - costs[0]) / span, float((contract.limit - costs[0]) / span)


def _surely_kept(contract: Contract, candidate: Candidate, costs: np.ndarray) -> bool:
    """Whether the limit holds whatever images come."""
    if contract.target == "max_mean_cost":
        return bool(costs[candidate.last_used - 1] <= contract.limit * (1 + ROUNDING))
    return contract.target == "max_disagreement" and candidate.never_early


def _p_value(losses: np.ndarray, limit: float, target: Target) -> float:
    if target == "max_mean_cost":
        return hoeffding_bentkus_p_value(float(losses.mean()), len(losses), limit)
    return binomial_p_value(round(losses.sum()), len(losses), limit)


def _why(contract: Contract, tested: ExitSummary, costs: np.ndarray) -> str:
    if contract.target == "max_mean_cost":
        return f"stage 1 alone costs {costs[0]:g}: no exits cost less"
    if tested.accuracy >= contract.limit and contract.confidence is not None:
        return (
            f"the safest exits found are right on {tested.accuracy:.4f} of {tested.count} images, too few "
            f"to say so with confidence {contract.confidence:g}: more validation images would help"
        )
    return (
        f"the safest exits found are right on {tested.accuracy:.4f} of {tested.count} images, the last "
        f"stage on {tested.full_accuracy:.4f}: exits make no net more accurate than its stages are"
    )


def _stored(
    candidate: Candidate,
    rule: str,
    contract: Contract,
    temperatures: Sequence[float],
    tested_on: ExitSummary,
    cost: str,
) -> Thresholds:
    """The record of a bundle that `runtime.policy_of` reads."""
    table = [
        [None if np.isinf(value) else float(value) for value in np.atleast_1d(row)]
        for row in candidate.thresholds
    ]
    arguments: dict[str, Any] = {"temperatures": list(temperatures)} if len(temperatures) else {}
    if rule == "per_class":
        table[-1] = [None] * len(table[-1])
        arguments |= {"confidence": confidence_of_rule("per_class"), "thresholds": table}
    elif rule == "patience":
        table = [[None if value is None else max(value, 1.0) for value in row] for row in table]
    values = [None] * len(table) if rule == "per_class" else [row[0] for row in table]
    about = {
        "arguments": arguments,
        "contract": contract.to_dict(),
        "cost": cost,
        "tested_on": tested_on.to_dict(),
    }
    return Thresholds(rule, tuple(values), about)


def _with_about(thresholds: Thresholds, **more: Any) -> Thresholds:
    return replace(thresholds, about={**thresholds.about, **more})
