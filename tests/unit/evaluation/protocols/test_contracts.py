"""Exits for a contract: it is kept as often as it says, and what is stored decides as what was solved."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anytimenet.core.errors import DataError
from anytimenet.core.manifest.records import Thresholds
from anytimenet.evaluation import Contract, ContractResult, Outputs, check_contract, solve_contract
from anytimenet.evaluation.protocols.exit_candidates import _RISKS, REACHED, _by_risk, candidates
from anytimenet.evaluation.protocols.exit_data import EXIT_RULES, ExitData, streaks
from anytimenet.evaluation.protocols.outputs import OutputCost
from anytimenet.evaluation.protocols.solved_exits import threshold_array
from anytimenet.runtime import policy_of, simulated_exits

STAGES, CLASSES = 3, 4
COSTS = tuple(OutputCost(k, 10 * k, 12 * k, 3, 10 * k, 12 * k) for k in range(1, STAGES + 1))


def some_outputs(count: int, seed: int, skill: float = 1.0) -> Outputs:
    """Easy and hard examples; later stages are better, and err together with earlier ones."""
    random = np.random.default_rng(seed)
    labels, hard = random.integers(0, CLASSES, count), random.gamma(2.0, 1.0, count)
    shared = random.normal(size=(count, CLASSES))
    logits = []
    for stage in range(1, STAGES + 1):
        own = 0.8 * shared + 0.6 * random.normal(size=(count, CLASSES))
        own[np.arange(count), labels] += skill * (1.5 + stage) / (0.3 + hard)
        logits.append(((2 * own).astype(np.float32),))
    return Outputs(tuple(logits), labels[:, None], COSTS, data="draws", split="val")


def some_of(outputs: Outputs, index: np.ndarray) -> Outputs:
    return Outputs(tuple((stage[index],) for stage in outputs.fine()), outputs.labels[index], COSTS)


POPULATION = some_outputs(8_000, seed=0)


@pytest.mark.parametrize(
    ("contract", "rule"),
    [
        (Contract("max_disagreement", 0.08, 0.8), "max_probability"),
        (Contract("min_accuracy", 0.72, 0.8), "margin"),
        (Contract("max_mean_cost", 20.0, 0.8), "entropy"),
        (Contract("max_disagreement", 0.08, 0.8), "per_class"),
    ],
)
def test_a_contract_is_broken_no_more_often_than_its_confidence_allows(contract, rule):
    random, draws, broken, met, costs = np.random.default_rng(3), 30, 0, 0, []
    for seed in range(draws):
        val = some_of(POPULATION, random.integers(0, POPULATION.count, 300))
        result = check_contract(solve_contract(val, contract, rule, seed=seed), POPULATION)
        met += result.met
        broken += result.met and not result.holds_out
        costs.append(result.held_out.mean_cost)
    # 20 % are allowed; 3 standard deviations of 30 draws are 22 points.
    assert broken / draws <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / draws)
    assert met == draws
    assert np.mean(costs) < 29  # of 30: it is not kept by never leaving


@pytest.mark.parametrize(
    "contract", [Contract("max_disagreement", 0.08, None), Contract("max_mean_cost", 20.0, None)]
)
def test_without_a_confidence_the_limit_holds_on_average(contract):
    random, reached = np.random.default_rng(4), []
    for seed in range(25):
        val = some_of(POPULATION, random.integers(0, POPULATION.count, 200))
        result = check_contract(solve_contract(val, contract, "margin", seed=seed), POPULATION)
        reached.append(contract.reached(result.held_out))
    spread = np.std(reached) / np.sqrt(len(reached))
    assert np.mean(reached) <= contract.limit + 3 * spread
    assert np.mean(reached) > 0.6 * contract.limit


@pytest.mark.parametrize("rule", EXIT_RULES)
def test_the_policy_of_the_stored_thresholds_lets_the_same_examples_go_at_the_same_stage(rule):
    val, test = some_outputs(400, seed=5), some_outputs(500, seed=6)
    result = check_contract(solve_contract(val, Contract("max_mean_cost", 22.0, None), rule), test)
    record = Thresholds.from_dict(json.loads(json.dumps(result.thresholds.to_dict())))
    exits = simulated_exits(policy_of(record), test.logits)
    data = ExitData.of(test, rule, record.about["arguments"].get("temperatures", ()))
    assert exits.tolist() == data.stages(threshold_array(record)).tolist()
    shares = np.bincount(exits - 1, minlength=STAGES) / test.count
    assert result.held_out.shares == tuple(shares.tolist())
    assert result.held_out.mean_cost == pytest.approx(float(shares @ [10, 20, 30]))
    assert record.about["held_out"]["count"] == 500
    assert ContractResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_the_images_are_divided_and_the_result_is_the_same_again():
    val, contract = some_outputs(301, seed=7), Contract("max_disagreement", 0.1)
    result = solve_contract(val, contract, learn_share=0.4, seed=9)
    assert (result.learned_on.count, result.tested_on.count) == (120, 181)
    assert solve_contract(val, contract, learn_share=0.4, seed=9) == result
    assert len(result.thresholds.about["arguments"]["temperatures"]) == STAGES


def test_what_judges_has_no_part_in_what_is_tried():
    """With the judges' labels and logits changed, temperatures and candidates stay as they are."""
    val = some_outputs(300, seed=8)
    order = np.random.default_rng(0).permutation(300)
    judge = order[150:]
    changed = [stage.copy() for stage in val.fine()]
    labels = val.labels.copy()
    for stage in changed:
        stage[judge] = -stage[judge]
    labels[judge] = (labels[judge] + 1) % CLASSES
    other = Outputs(tuple((stage,) for stage in changed), labels, COSTS, data="draws", split="val")
    found = [solve_contract(one, Contract("max_disagreement", 0.9, 0.5)) for one in (val, other)]
    assert found[0].learned_on.full_accuracy == found[1].learned_on.full_accuracy
    arguments = [one.thresholds.about["arguments"] for one in found]
    assert arguments[0] == arguments[1]


def test_an_accuracy_beyond_the_net_is_a_result_that_says_why():
    result = solve_contract(some_outputs(400, seed=10), Contract("min_accuracy", 0.99))
    assert (result.met, result.tried) == (False, 1)
    assert "exits make no net more accurate" in result.why
    assert result.tested_on.accuracy == pytest.approx(result.tested_on.full_accuracy, abs=0.05)
    assert check_contract(result, some_outputs(300, seed=11)).holds_out is False


def test_too_few_images_for_a_confidence_are_a_result_that_says_so():
    val = some_outputs(24, seed=12, skill=20.0)
    result = solve_contract(val, Contract("min_accuracy", 0.9, 0.99))
    assert not result.met
    assert "more validation images" in result.why


def test_a_cost_below_stage_1_is_a_result_and_one_of_stage_1_is_kept_for_certain():
    val = some_outputs(100, seed=13)
    below = solve_contract(val, Contract("max_mean_cost", 9.9))
    assert not below.met
    assert "stage 1 alone costs 10" in below.why
    exactly = solve_contract(val, Contract("max_mean_cost", 10.0))
    assert (exactly.met, exactly.tested_on.shares) == (True, (1.0, 0.0, 0.0))
    everything = solve_contract(val, Contract("max_mean_cost", 30.0))
    assert everything.met
    assert everything.learned_on.accuracy >= everything.learned_on.full_accuracy


def test_no_disagreement_at_all_is_kept_by_going_on_to_the_end():
    result = solve_contract(some_outputs(100, seed=14), Contract("max_disagreement", 0.0, 0.999))
    assert (result.met, result.tested_on.shares) == (True, (0.0, 0.0, 1.0))
    assert result.thresholds.values == (None, None, None)


def test_costs_may_be_milliseconds_and_must_rise():
    val = some_outputs(200, seed=15)
    result = solve_contract(val, Contract("max_mean_cost", 2.0, None), stage_costs=(1.0, 1.5, 3.0), cost="ms")
    assert (result.cost, result.thresholds.about["cost"]) == ("ms", "ms")
    assert result.tested_on.mean_cost <= 2.0
    with pytest.raises(ValueError, match="do not increase"):
        solve_contract(val, Contract("max_mean_cost", 2.0), stage_costs=(1.0, 1.0, 3.0))


def test_candidates_are_beaten_by_none_and_run_from_cheap_to_safe():
    data = ExitData.of(some_outputs(150, seed=16), "max_probability")
    loss = (~data.right).astype(float)
    found = candidates(data, loss, np.array([10.0, 20.0, 30.0]), "max_probability", CLASSES)
    points = [(one.mean_cost, (one.risk, one.doubt)) for one in found]
    assert points == sorted(points)
    assert [risk for _, risk in points] == sorted((risk for _, risk in points), reverse=True)
    assert found[0].last_used == 1
    # No threshold that all stages share does better in both than every candidate.
    for level in np.unique(data.scores)[::7]:
        stages = data.stages(np.array([level, level, -np.inf]))
        cost, risk = (10.0 * stages).mean(), data.at(loss, stages).mean()
        assert not any(cost < one.mean_cost - 2 and risk < one.risk - 0.02 for one in found) or any(
            one.mean_cost <= cost and one.risk <= risk + 0.02 for one in found
        )


def test_the_least_thresholds_above_which_a_risk_holds_are_those_of_a_search():
    random = np.random.default_rng(22)
    scores = random.integers(0, 12, (2, 60)) / 12  # with ties
    loss = (random.random((2, 60)) > scores).astype(float)
    members = random.integers(0, 4, (2, 60))
    members[members == 2] = 3  # one class is never named
    found = _by_risk(scores, loss, members, 4)
    assert found.shape == (len(_RISKS), 2, 4)
    for place in range(0, len(_RISKS), 6):
        for stage in range(2):
            for group in range(4):
                inside = members[stage] == group
                holding = [np.inf]
                for level in np.unique(scores[stage, inside]):
                    out = inside & (scores[stage] >= level)
                    if (loss[stage, out].sum() + 1) / (out.sum() + 2) <= _RISKS[place]:
                        holding.append(level)
                assert found[place, stage, group] == min(holding)


@pytest.mark.parametrize("rule", EXIT_RULES)
def test_every_score_reaches_the_lowest_threshold(rule):
    extreme = np.array([[0.0, 0.0, 0.0], [1e4, -1e4, 0.0], [-700.0, -705.0, -710.0]], np.float32)
    outputs = Outputs(((extreme,),), np.zeros((3, 1), int), COSTS[:1])
    assert (ExitData.of(outputs, rule).scores >= REACHED).all()


def test_streaks_are_those_of_a_loop():
    answers = np.random.default_rng(17).integers(0, 2, (6, 50))
    for column, found in zip(answers.T, streaks(answers).T, strict=True):
        length = 0
        for stage in range(6):
            length = length + 1 if stage and column[stage] == column[stage - 1] else 1
            assert found[stage] == length


def test_what_no_contract_can_be_solved_for_is_refused():
    with pytest.raises(ValueError, match="did you mean 'min_accuracy'"):
        Contract("min_acuracy", 0.9)
    with pytest.raises(ValueError, match="fraction"):
        Contract("max_disagreement", 1.5)
    with pytest.raises(ValueError, match="below 1"):
        Contract("max_disagreement", 0.1, 1.0)
    with pytest.raises(DataError, match="cannot be divided"):
        solve_contract(some_outputs(1, seed=18), Contract("min_accuracy", 0.5))
    broken = some_outputs(10, seed=19)
    broken.fine()[1][3, 2] = np.nan
    with pytest.raises(DataError, match="not finite"):
        solve_contract(broken, Contract("min_accuracy", 0.5), "patience")
    with pytest.raises(DataError, match="same net"):
        check_contract(
            solve_contract(some_outputs(50, seed=20), Contract("max_mean_cost", 20.0)),
            Outputs(some_outputs(5, seed=21).logits[:2], np.zeros((5, 1), int), COSTS[:2]),
        )
