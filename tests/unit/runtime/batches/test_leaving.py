"""Examples leave a batch where the policy says, with the answer that they would have had alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.toy import toy_images, toy_model

from anytimenet.runtime.batches.leaving import LeavingRun
from anytimenet.runtime.policies.patience import PatiencePolicy
from anytimenet.runtime.policies.policy import NOTHING
from anytimenet.runtime.policies.simulated import simulated_exits
from anytimenet.runtime.policies.thresholds import ConfidencePolicy

STEPS = [(0, 1), (1, 2), (2, 3), (3, 4)]
MODES = ["results", "compact", "regroup"]
POLICIES = [
    ConfidencePolicy("max_probability", (0.6, 0.9, 0.9, None)),
    ConfidencePolicy("margin", (0.0, None, None, None)),
    ConfidencePolicy("entropy", (None, None, None, None)),
    PatiencePolicy((None, 2, 2, None)),
]


class Counted:
    """Says of how many rows each segment ran."""

    def __init__(self):
        self.rows = []

    def __call__(self, start, stop, batch):
        self.rows.append((start, stop, batch))


@given(
    count=st.integers(1, 25),
    batch=st.integers(1, 9),
    stops=st.sets(st.integers(1, 3)),
    policy=st.sampled_from(POLICIES),
    mode=st.sampled_from(MODES),
    resumes=st.booleans(),
)
def test_every_row_leaves_where_it_would_alone_with_that_answer(count, batch, stops, policy, mode, resumes):
    """Also on paths that jump, and of nets that begin again for each stage."""
    stops = [*sorted(stops), 4]
    path = list(zip([0, *stops[:-1]] if resumes else [0] * len(stops), stops, strict=True))
    x, model = toy_images(count, seed=count), toy_model()
    found = list(LeavingRun(model, policy, path=path, mode=mode, batch=batch).answers(x))
    assert sorted(answer.row for answer in found) == list(range(count))
    assert model.backend.live == 0
    for answer in found:
        alone = model.backend.outputs(x[[answer.row]], [(0, stop) for stop in stops])
        memory, expected = policy.begin(1), None
        for stop, output in zip(stops, alone, strict=True):
            leaves, memory = policy.leaves(stop, output, memory)
            if leaves[0] or stop == 4:
                expected = stop, output
                break
        assert answer.stage == expected[0]
        np.testing.assert_allclose(answer.output[0], expected[1][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_executed_exits_are_the_simulated_ones(mode):
    x, model = toy_images(64), toy_model()
    policy = POLICIES[0]
    stages = simulated_exits(policy, model.backend.outputs(x, STEPS))
    assert len(set(stages.tolist())) == 4
    found = {answer.row: answer.stage for answer in LeavingRun(model, policy, mode=mode, batch=64).answers(x)}
    assert [found[row] for row in range(64)] == stages.tolist()


class InTurn:
    """Lets so many of the rows that are still open leave at each stage: the first ones."""

    num_stages = None

    def __init__(self, counts):
        self.counts = counts

    def begin(self, batch):
        return NOTHING

    def leaves(self, stage, output, memory):
        return np.arange(len(output[0])) < self.counts[stage - 1], memory


def test_results_come_early_while_the_work_goes_on_for_all():
    clock, counted = FakeClock(), Counted()

    def work(*segment):
        counted(*segment)
        clock.advance(0.001)

    run = LeavingRun(toy_model(work=work), InTurn([3, 0, 2, 0]), mode="results", batch=8, clock=clock)
    found = list(run.answers(toy_images(8)))
    assert counted.rows == [(0, 1, 8), (1, 2, 8), (2, 3, 8), (3, 4, 8)]
    assert [answer.row for answer in found] == list(range(8))
    assert [round(answer.elapsed_ms) for answer in found] == [1, 1, 1, 3, 3, 4, 4, 4]


def test_compacting_drops_rows_at_once_and_ends_when_none_is_left():
    counted = Counted()
    run = LeavingRun(toy_model(work=counted), InTurn([3, 0, 5, 0]), mode="compact", batch=8)
    assert [answer.row for answer in run.answers(toy_images(8))] == list(range(8))
    assert counted.rows == [(0, 1, 8), (1, 2, 5), (2, 3, 5)]


def test_regrouping_fills_batches_with_rows_of_several():
    counted = Counted()
    run = LeavingRun(toy_model(work=counted), InTurn([2, 0, 0, 0]), mode="regroup", batch=4)
    found = list(run.answers(toy_images(18)))
    assert sorted(answer.row for answer in found) == list(range(18))
    first = [rows for start, _, rows in counted.rows if start == 0]
    later = [rows for start, _, rows in counted.rows if start == 1]
    assert first == [4, 4, 4, 4, 2]
    assert later == [4, 4]
    assert all(rows == 4 for _, _, rows in counted.rows if rows != 2)
    # A batch that nobody left goes on without a copy, before new images are read.
    assert [segment[:2] for segment in counted.rows][2:6] == [(1, 2), (2, 3), (3, 4), (0, 1)]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_left_releases_its_states(mode):
    model = toy_model()
    answers = LeavingRun(model, InTurn([1, 1, 1, 1]), mode=mode, batch=3).answers(toy_images(9))
    next(answers)
    next(answers)
    answers.close()
    assert model.backend.live == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_run_that_fails_releases_its_states(mode, stage):
    class Failing(InTurn):
        def leaves(self, now, output, memory):
            if now == stage:
                raise ArithmeticError("of the policy")
            return super().leaves(now, output, memory)

    def work(start, stop, batch):
        if stop == stage:
            raise ArithmeticError("of the engine")

    turns = [1, 0, 1, 0]
    for model, policy in ((toy_model(), Failing(turns)), (toy_model(work=work), InTurn(turns))):
        with pytest.raises(ArithmeticError):
            list(LeavingRun(model, policy, mode=mode, batch=3).answers(toy_images(9)))
        assert model.backend.live == 0


def test_images_are_read_as_they_are_needed():
    def images():
        yield toy_images(2)
        yield toy_images(1)
        raise AssertionError("nobody needs it yet")

    answers = LeavingRun(toy_model(), InTurn([3, 0, 0, 0]), batch=3).answers(images())
    assert [next(answers).row for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "compct"}, "did you mean 'compact'"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"path": []}, "path is empty"),
        ({"path": [(1, 2)]}, "starts at stage 1"),
        ({"policy": PatiencePolicy.of(2, 3)}, "the policy is for 3 stages, and this net has 4"),
    ],
)
def test_a_run_that_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        LeavingRun(toy_model(), **{"policy": POLICIES[0], **given})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (toy_images(0), "the batch is empty"),
        (toy_images(2) * np.nan, "holds NaN"),
        (toy_images(2)[:, :, 1:], "this net reads standardised images"),
        (toy_images(2)[0], "standardised floats"),
        (toy_images(2).astype(np.uint8), "not uint8: standardise pixels first"),
    ],
)
def test_images_that_cannot_be_run_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        list(LeavingRun(toy_model(), POLICIES[0]).answers(images))
