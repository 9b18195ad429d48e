"""Exit policies: who leaves, in any batch, at any stage; and what a bundle's thresholds say of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.core.answers.confidence import CONFIDENCES, confidences
from anytimenet.core.answers.exit_thresholds import leaving_stages
from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.records import Thresholds
from anytimenet.runtime import (
    ClassPolicy,
    ConfidencePolicy,
    ExitPolicy,
    PatiencePolicy,
    known_policies,
    policy_of,
    register_policy,
    simulated_exits,
)
from anytimenet.runtime.policies.policy import NOTHING

STAGES, CLASSES = 4, 7


def outputs(seed: int, count: int = 40, classes: int = CLASSES) -> list[tuple[np.ndarray, ...]]:
    """Of stages that grow surer, with a coarser level that no policy reads."""
    random = np.random.default_rng(seed)
    first = random.normal(size=(count, classes))
    return [
        ((first * stage + random.normal(size=(count, classes))).astype(np.float32), np.zeros((count, 2)))
        for stage in range(1, STAGES + 1)
    ]


def policies(seed: int) -> list[ExitPolicy]:
    """One of each kind, so that some leave at every stage."""
    random = np.random.default_rng(seed)
    table = random.uniform(0.4, 1.0, (STAGES, CLASSES))
    table[random.random(table.shape) < 0.2] = np.inf
    return [
        ConfidencePolicy("max_probability", (0.9, None, 0.7, None)),
        ConfidencePolicy("margin", (0.8, 0.6, 0.5, None), (2.0, 1.5, 1.1, 1.0)),
        ConfidencePolicy("entropy", (-0.2, -0.3, -0.4, None)),
        ClassPolicy("max_probability", table, (1.3, 1.0, 0.7, 1.0)),
        PatiencePolicy.of(2, STAGES),
        PatiencePolicy((1, 2, None, None)),
    ]


def run_one_by_one(policy: ExitPolicy, stored: list[tuple[np.ndarray, ...]], example: int) -> int:
    """The stage at which one example leaves, alone in its batch."""
    memory = policy.begin(1)
    for stage, output in enumerate(stored, 1):
        leaves, memory = policy.leaves(stage, tuple(level[[example]] for level in output), memory)
        if leaves[0]:
            return stage
    raise AssertionError("the last stage lets everybody go")


@examples(25)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_example_leaves_at_the_same_stage_alone_and_in_any_batch(seed):
    stored = outputs(seed)
    order = np.random.default_rng(seed).permutation(len(stored[0][0]))
    shuffled = [tuple(level[order] for level in output) for output in stored]
    for policy in policies(seed):
        exits = simulated_exits(policy, stored)
        assert exits.tolist() == [run_one_by_one(policy, stored, i) for i in range(len(exits))]
        assert simulated_exits(policy, shuffled).tolist() == exits[order].tolist()


@pytest.mark.parametrize("kind", CONFIDENCES)
@pytest.mark.parametrize("classes", [2, 10, 131, 1000])
def test_confidences_are_the_same_bits_alone_in_a_batch_and_in_any_memory_layout(kind, classes):
    logits = np.random.default_rng(classes).normal(0, 4, (33, classes)).astype(np.float32)
    whole = confidences([logits, np.asfortranarray(logits)], kind)
    alone = np.concatenate([confidences([logits[i : i + 1]], kind)[0] for i in range(33)])
    assert whole[0].tobytes() == whole[1].tobytes() == alone.tobytes()


@pytest.mark.parametrize("kind", CONFIDENCES)
def test_a_policy_at_the_very_confidence_of_an_example_lets_it_go_as_the_simulation_does(kind):
    stored = outputs(3)
    confidence = confidences([output[0] for output in stored], kind)
    thresholds = np.median(np.sort(confidence)[:, 1:], axis=1)  # of 39 numbers: that of an example, exactly
    assert all(threshold in row for threshold, row in zip(thresholds, confidence, strict=True))
    thresholds[-1] = -np.inf
    policy = ConfidencePolicy(kind, (*thresholds[:-1].tolist(), None))
    assert simulated_exits(policy, stored).tolist() == leaving_stages(confidence, thresholds).tolist()


def test_a_temperature_divides_the_logits():
    stored = outputs(5)
    warm = [(output[0] / np.float32(2), output[1]) for output in stored]
    policy = ConfidencePolicy("margin", (0.5, 0.4, 0.3, None), (2.0,) * STAGES)
    assert (
        simulated_exits(policy, stored).tolist()
        == simulated_exits(replace(policy, temperatures=()), warm).tolist()
    )


def test_thresholds_per_class_are_those_of_the_class_that_the_stage_names():
    stored = outputs(6)
    confidence = confidences([output[0] for output in stored])
    table = np.full((STAGES, CLASSES), np.inf)
    table[1, 4] = 0.5  # only what stage 2 calls class 4, and is half sure of
    exits = simulated_exits(ClassPolicy("max_probability", table), stored)
    expected = (stored[1][0].argmax(axis=1) == 4) & (confidence[1] >= 0.5)
    assert expected.any()
    assert exits.tolist() == np.where(expected, 2, STAGES).tolist()


def test_patience_counts_equal_answers_in_a_row_of_the_stages_that_ran():
    answers = [[0, 1, 2], [0, 2, 2], [1, 2, 2], [1, 1, 2]]
    stored = [(np.eye(3)[stage],) for stage in answers]
    assert simulated_exits(PatiencePolicy.of(2, 4), stored).tolist() == [2, 3, 2]
    assert simulated_exits(PatiencePolicy.of(3, 4), stored).tolist() == [4, 4, 3]
    policy = PatiencePolicy.of(2, 4)  # on the path 1, 4
    _, memory = policy.leaves(1, stored[0], policy.begin(3))
    assert policy.leaves(4, stored[3], memory)[1].lengths.tolist() == [1, 2, 2]


def test_memory_is_not_changed_so_that_a_run_can_go_back_to_it():
    policy, stored = PatiencePolicy.of(2, STAGES), outputs(7)
    before = policy.leaves(1, stored[0], policy.begin(40))[1]
    lengths = before.lengths.tolist()
    first = policy.leaves(2, stored[1], before)[0].tolist()
    assert before.lengths.tolist() == lengths
    assert policy.leaves(2, stored[1], before)[0].tolist() == first


def test_nobody_leaves_on_numbers_that_are_none_but_at_the_last_stage():
    broken = (np.full((2, 3), np.nan),)
    for policy in (
        ConfidencePolicy("entropy", (-1.0, None)),
        ClassPolicy("margin", np.zeros((2, 3))),
    ):
        assert not policy.leaves(1, broken, policy.begin(2))[0].any()
        assert policy.leaves(2, broken, policy.begin(2))[0].all()


def through_json(record: Thresholds) -> Thresholds:
    return Thresholds.from_dict(json.loads(json.dumps(record.to_dict())))


def test_thresholds_of_a_bundle_give_the_policy_they_were_written_for():
    margin = Thresholds("margin", (0.5, None, None), {"arguments": {"temperatures": [2.0, 1.0, 1.0]}})
    assert policy_of(through_json(margin)) == ConfidencePolicy("margin", (0.5, None, None), (2.0, 1.0, 1.0))
    assert policy_of(Thresholds("patience", (2.0, 2, None))) == PatiencePolicy((2, 2, None))
    arguments = {"confidence": "entropy", "thresholds": [[-0.5, None], [None, -0.25]], "temperatures": [2, 1]}
    found = policy_of(through_json(Thresholds("per_class", (None, None), {"arguments": arguments})))
    assert isinstance(found, ClassPolicy)
    assert found.thresholds.tolist() == [[-0.5, np.inf], [np.inf, -0.25]]
    assert (found.confidence, found.temperatures) == ("entropy", (2, 1))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Thresholds("margn", (0.5, None)), "did you mean 'margin'"),
        (Thresholds("margin", ()), "a stage at least"),
        (Thresholds("margin", (0.5, None), {"arguments": {"temperatures": [1.0]}}), "1 temperatures"),
        (Thresholds("margin", (0.5, None), {"arguments": {"temperatures": [0, 1]}}), "above 0"),
        (Thresholds("margin", (0.5, None), {"arguments": {"temprature": [1.0]}}), "'temprature'"),
        (Thresholds("margin", (0.5, None), {"arguments": 3}), "arguments must be"),
        (Thresholds("patience", (1.5, None)), "whole numbers"),
        (Thresholds("patience", (0, None)), "1"),
        (Thresholds("per_class", (None,)), "'confidence' is missing"),
        (
            Thresholds(
                "per_class", (None, None), {"arguments": {"confidence": "margin", "thresholds": [[1], []]}}
            ),
            "as many classes",
        ),
        (
            Thresholds(
                "per_class", (None, None), {"arguments": {"confidence": "margin", "thresholds": [[1]]}}
            ),
            "1 stages",
        ),
    ],
)
def test_thresholds_that_no_policy_can_have_are_refused_with_a_cure(record, words):
    with pytest.raises(BundleError, match=words):
        policy_of(record)


def test_a_policy_for_other_classes_is_refused():
    policy = ClassPolicy("margin", np.zeros((2, 3)))
    with pytest.raises(BundleError, match="3 classes and the net answers with 5"):
        policy.leaves(1, (np.zeros((1, 5)),), policy.begin(1))


def test_a_label_map_is_refused():
    with pytest.raises(ValueError, match="no policy yet"):
        PatiencePolicy.of(2, 2).leaves(1, (np.zeros((1, 5, 4, 4)),), PatiencePolicy.of(2, 2).begin(1))


def test_a_policy_of_ones_own_is_known_by_its_name():
    class Loud:
        def __init__(self, least: float) -> None:
            self.least, self.num_stages = least, None

        def begin(self, batch):
            return NOTHING

        def leaves(self, stage, output, memory):
            return output[0].max(axis=1) >= self.least, memory

    register_policy("loud", lambda thresholds, arguments: Loud(arguments["least"]))
    found = policy_of(Thresholds("loud", (None,) * STAGES, {"arguments": {"least": 9.0}}))
    assert isinstance(found, ExitPolicy)
    assert "loud" in known_policies()
    stored = outputs(8)
    loud = np.stack([output[0].max(axis=1) >= 9 for output in stored])
    loud[-1] = True
    assert simulated_exits(found, stored).tolist() == (loud.argmax(axis=0) + 1).tolist()
