"""Answers within budgets, on a clock that moves only while segments run."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.toy import SHAPE, VALIDATED, ToyBackend, toy_images, toy_manifest, toy_model

import anytimenet.runtime.predictor as predictor_module
from anytimenet.core.errors import CostTableError, NotFiniteError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.records import Thresholds
from anytimenet.runtime.model import PreparedModel
from anytimenet.runtime.policies.patience import PatiencePolicy
from anytimenet.runtime.policies.policy import NOTHING
from anytimenet.runtime.policies.simulated import simulated_exits
from anytimenet.runtime.policies.thresholds import ConfidencePolicy
from anytimenet.runtime.predictor import Predictor

STEP_MS = 2.0


def profiled_ms(start, stop):
    """What the table says: from the input a little less than the steps one by one."""
    return STEP_MS * (stop - start) * (0.9 if stop - start > 1 else 1.0)


def table(batches=(1,)):
    entries = {
        (a, b, n): Latency(
            n * profiled_ms(a, b), n * profiled_ms(a, b) * 1.02, n * profiled_ms(a, b) * 1.05, 50
        )
        for a in range(4)
        for b in range(a + 1, 5)
        for n in batches
    }
    return CostTable("cpu", {"id": "here"}, "float32", 1, SHAPE, entries, backend="toy")


def timed_predictor(factor=1.0, **options):
    """A predictor on a fake clock, and the clock; segments take `factor` times what the table says."""
    clock = FakeClock()
    factors = itertools.repeat(factor) if isinstance(factor, float) else iter(factor)

    def work(start, stop, batch):
        clock.advance(batch * profiled_ms(start, stop) * next(factors) / 1000)

    model = toy_model(work=work)
    return Predictor(model, table=table(), clock=clock, **options), clock


def test_time_enough_is_spent_in_one_jump_to_the_best_validated_stage():
    predictor, clock = timed_predictor()
    answer = predictor.predict(toy_images(), deadline_ms=100)
    assert (answer.stage, answer.path, answer.late) == (3, ((0, 3),), False)
    assert answer.elapsed_ms == pytest.approx(1000 * clock.now)
    assert predictor.model.backend.live == 0


@pytest.mark.parametrize(("deadline_ms", "stage"), [(2.5, 1), (4.5, 2), (6.5, 3)])
def test_the_best_stage_that_is_in_time_answers(deadline_ms, stage):
    answer = timed_predictor()[0].predict(toy_images(), deadline_ms=deadline_ms)
    assert (answer.stage, answer.late) == (stage, False)


@pytest.mark.parametrize("deadline_ms", [0, -3.5, 0.001, float("-inf")])
def test_a_deadline_that_nobody_could_keep_is_answered_late_by_the_cheapest_stage(deadline_ms):
    answer = timed_predictor()[0].predict(toy_images(), deadline_ms=deadline_ms)
    assert (answer.stage, answer.late, answer.path) == (1, True, ((0, 1),))


def test_a_machine_that_has_become_slow_is_noticed_and_later_deadlines_are_kept():
    predictor, _ = timed_predictor(3.0)
    answers = [predictor.predict(toy_images(), deadline_ms=8) for _ in range(12)]
    assert answers[0].late
    assert not any(answer.late for answer in answers[4:])
    assert {answer.stage for answer in answers[4:]} == {1}


def test_reading_the_image_is_part_of_the_deadline(monkeypatch):
    predictor, clock = timed_predictor()
    decode = Preprocessing.decode

    def slowly(self, image):
        clock.advance(0.0035)
        return decode(self, image)

    monkeypatch.setattr(Preprocessing, "decode", slowly)
    image = np.zeros((4, 4), np.uint8)
    answer = predictor.predict(image, deadline_ms=6.5)
    assert (answer.stage, answer.late) == (1, False)
    assert answer.elapsed_ms == pytest.approx(5.5)


@examples(60)
@given(
    deadline_ms=st.floats(-5, 30),
    factors=st.lists(st.floats(0.5, 4), min_size=40, max_size=40),
)
def test_whatever_the_machine_does_there_is_an_answer_that_says_when_it_is_late(deadline_ms, factors):
    predictor, _ = timed_predictor(factors)
    for _ in range(4):
        answer = predictor.predict(toy_images(), deadline_ms=deadline_ms)
        finished = [stop for _, stop in answer.path]
        assert answer.stage == max(finished, key=lambda stage: (VALIDATED[stage - 1], -stage))
        assert answer.late == (answer.elapsed_ms > deadline_ms)
        # All but the last segment were done before the deadline, so that it is overrun by one at most.
        assert answer.elapsed_ms <= max(deadline_ms, 0) + 4 * profiled_ms(0, 4)


def test_an_image_that_is_sure_early_leaves_early():
    everyone = ConfidencePolicy("max_probability", (None, 0.0, None, None))
    predictor, clock = timed_predictor(policy=everyone)
    answer = predictor.predict(toy_images())
    assert (answer.stage, answer.path) == (2, ((0, 1), (1, 2)))
    assert clock.now == pytest.approx(2 * STEP_MS / 1000)
    nobody = ConfidencePolicy("max_probability", (None, None, None, None))
    assert timed_predictor(policy=nobody)[0].predict(toy_images()).path[-1] == (3, 4)


def test_the_thresholds_of_the_bundle_are_used():
    manifest = toy_manifest()
    object.__setattr__(manifest, "thresholds", Thresholds("max_probability", (None, 0.0, None, None)))
    model = PreparedModel(manifest, toy_model().backend)
    assert Predictor(model).predict(toy_images()).stage == 2
    assert Predictor(model, policy=None).predict(toy_images()).stage == 3
    assert Predictor(model).predict(toy_images(), stage=4).stage == 4


def test_a_target_is_met_by_the_cheapest_stage_that_reaches_it():
    predictor = Predictor(toy_model())
    met, missed = (predictor.predict(toy_images(), target_accuracy=a) for a in (0.65, 0.95))
    assert (met.stage, met.below_target) == (2, False)
    assert (missed.stage, missed.below_target) == (3, True)
    unknown = Predictor(toy_model(validated=(None,) * 4))
    with pytest.raises(ValueError, match="never validated"):
        unknown.predict(toy_images(), target_accuracy=0.5)


def test_budgets_and_stages_are_answered_as_the_standing_rule_says():
    predictor = Predictor(toy_model())
    assert predictor.predict(toy_images()).stage == 3
    assert predictor.predict(toy_images(), stage=4).path == ((0, 4),)
    assert predictor.predict(toy_images(), budget_macs=250).stage == 2
    over = predictor.predict(toy_images(), budget_macs=10)
    assert (over.stage, over.over_budget) == (1, True)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"deadline_ms": float("nan")}, "deadline_ms"),
        ({"deadline_ms": 3, "stage": 1}, "stage=K or deadline_ms, not both"),
        ({"stage": 5}, "stage"),
        ({"target_accuracy": 90}, "fraction from 0 to 1"),
        ({"budget_macs": -1}, "budget_macs"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_by_name(budget, message):
    with pytest.raises(ValueError, match=message):
        timed_predictor()[0].predict(toy_images(), **budget)


def test_a_deadline_without_latencies_names_what_to_profile():
    with pytest.raises(CostTableError, match="backend 'toy', 1 thread"):
        Predictor(toy_model()).predict(toy_images(), deadline_ms=5)
    assert Predictor(toy_model()).predict(toy_images(), deadline_ms=float("inf")).stage == 3


def test_numbers_that_are_not_finite_never_stand():
    class Broken(type(toy_model().backend)):
        broken = (3,)

        def run(self, start, stop, state):
            state, output = super().run(start, stop, state)
            return state, tuple(level * np.nan for level in output) if stop in self.broken else output

    backend = Broken()
    model = PreparedModel(toy_manifest(), backend)
    steps_only = [(0, 1), (1, 2), (2, 3), (3, 4)]
    predictor = Predictor(model, table=table(), segments=steps_only, policy=None)
    answer = predictor.predict(toy_images(), deadline_ms=1e6)
    assert answer.stage in (2, 4)
    jump = Predictor(model, table=table(), policy=None)  # to stage 3 at once, the best validated
    assert jump.predict(toy_images(), deadline_ms=1e6).path == ((0, 3), (3, 4))
    with pytest.raises(NotFiniteError, match="stage 3"):
        predictor.predict(toy_images(), stage=3)
    backend.broken = (1, 2, 3, 4)
    with pytest.raises(NotFiniteError):
        predictor.predict(toy_images(), deadline_ms=1e6)
    assert backend.live == 0


def test_a_batch_is_no_image():
    with pytest.raises(ValueError, match="predict_many"):
        Predictor(toy_model()).predict(toy_images(3))


def test_warming_up_prepares_what_may_be_planned_and_reads_a_picture(monkeypatch):
    predictor, _ = timed_predictor()
    read = []
    decode = Preprocessing.decode
    monkeypatch.setattr(
        Preprocessing, "decode", lambda self, image: read.append(image) or decode(self, image)
    )
    predictor.warm_up()
    assert [image.format for image in read] == ["PNG"]
    wanted = {(a, b) for a in range(4) for b in range(a + 1, 5) if a in (0, b - 1)}
    assert set(predictor.model.backend.prepared) == wanted
    assert predictor.model.backend.live == 0


class FirstBroken(ToyBackend):
    """Of every batch of the whole net the first image gets NaN at `broken` stages."""

    broken: tuple[int, ...] = ()

    def run(self, start, stop, state):
        state, output = super().run(start, stop, state)
        if stop in self.broken:
            output[0][0] = np.nan
        return state, output


class Never:
    """A policy for any net: it does not know which stage is the last."""

    num_stages = None

    def begin(self, batch):
        return NOTHING

    def leaves(self, stage, output, memory):
        return np.zeros(len(output[0]), bool), memory


@pytest.mark.parametrize("broken", [(), (1,), (4,), (2, 3), (2, 4)])
@pytest.mark.parametrize(
    "policy", [ConfidencePolicy("margin", (None,) * 4), PatiencePolicy.of(2, 4), Never()]
)
def test_a_batch_is_answered_as_its_images_alone_also_where_a_stage_gives_no_numbers(broken, policy):
    backend = FirstBroken()
    backend.broken = broken
    predictor = Predictor(PreparedModel(toy_manifest(), backend), policy=policy)
    x = toy_images(3)
    many, alone = list(predictor.predict_many(x)), predictor.predict(x[:1])
    assert (many[0].stage, many[0].label) == (alone.stage, alone.label)
    assert many[0].stage not in broken
    assert backend.live == 0


def test_executed_exits_are_the_simulated_ones_where_a_policy_lets_nobody_go():
    backend = ToyBackend()
    x = toy_images(3)
    outputs = backend.outputs(x, [(0, 1), (1, 2), (2, 3), (3, 4)])
    predictor = Predictor(PreparedModel(toy_manifest(), backend), policy=Never())
    executed = [predictor.predict(x[row : row + 1]).stage for row in range(3)]
    assert executed == simulated_exits(Never(), outputs).tolist() == [4, 4, 4]


def test_latencies_of_batches_alone_stop_nobody_who_gives_no_deadline():
    predictor = Predictor(toy_model(), table=table(batches=(8,)))
    assert predictor.predict(toy_images(), stage=2).stage == 2
    assert len(list(predictor.predict_many(toy_images(3)))) == 3
    with pytest.raises(CostTableError, match="batches of 8 to 8, not 1: profile"):
        predictor.predict(toy_images(), deadline_ms=5)


def test_a_batch_size_without_latencies_is_refused_before_an_image_is_read():
    predictor = Predictor(toy_model(), table=table(batches=(1, 8)))
    read = []

    def images():
        for image in toy_images(9):
            read.append(image)
            yield image[None]

    with pytest.raises(CostTableError, match="batches of 1 to 8, not 9: profile"):
        predictor.predict_many(images(), deadline_ms=1e6, batch_size=9)
    assert not read
    assert len(list(predictor.predict_many(images(), deadline_ms=1e6, batch_size=8))) == 9
    # Three images make no batch of 32.
    assert len(list(predictor.predict_many(list(toy_images(3)[:, None]), deadline_ms=1e6))) == 3
    assert len(list(predictor.predict_many(toy_images(3), deadline_ms=1e6))) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shape": (3, 8, 8)}, r"inputs of \(3, 8, 8\) and this net reads \(1, 4, 4\)"),
        ({"backend": "other"}, "backend 'other', 1 thread"),
        ({"threads": 2}, "2 thread.*runs with backend 'toy', 1 thread"),
        ({"dtype": "bfloat16"}, "bfloat16 on cpu"),
        ({"device": "cuda-1"}, "float32 on cuda-1"),
    ],
)
def test_latencies_of_something_else_are_refused(change, message):
    with pytest.raises(CostTableError, match=message):
        Predictor(toy_model(), table=replace(table(), **change))


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_while_an_answer_is_made_spoils_no_later_one(jump, monkeypatch):
    predictor, clock = timed_predictor()
    named = predictor_module.named

    def jumping(*args, **options):
        clock.now += jump
        return named(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(predictor_module, "named", jumping)
        assert predictor.predict(toy_images(), deadline_ms=20).elapsed_ms >= 0
    for deadline_ms, stage in ((2.5, 1), (4.5, 2), (6.5, 3)):
        answer = predictor.predict(toy_images(), deadline_ms=deadline_ms)
        assert (answer.stage, answer.late) == (stage, False)


def test_the_first_run_of_a_segment_which_prepares_it_makes_no_machine_slow():
    clock, cold = FakeClock(), set()

    def work(start, stop, batch):
        factor = 1.0 if (start, stop) in cold else 50.0
        cold.add((start, stop))
        clock.advance(batch * profiled_ms(start, stop) * factor / 1000)

    predictor = Predictor(toy_model(work=work), table=table(), clock=clock)
    answers = [predictor.predict(toy_images(), deadline_ms=7) for _ in range(3)]
    assert [answer.stage for answer in answers] == [3, 3, 3]
    assert [answer.late for answer in answers] == [True, False, False]


def test_after_warming_up_every_run_tells_how_slow_the_machine_is():
    predictor, _ = timed_predictor(3.0)
    predictor.warm_up()
    predictor.predict(toy_images(), deadline_ms=100)
    assert predictor.planners.slowdown.mean > 1.2


@pytest.mark.parametrize(
    ("segments", "best", "cheapest"),
    [
        ([(0, 1), (0, 2)], 2, 1),
        ([(0, 2), (2, 4)], 4, 2),
        ([(0, 1), (1, 2), (2, 3), (3, 4)], 3, 1),
        ([(0, 4)], 4, 4),
    ],
)
def test_of_the_stages_that_segments_lead_to_the_best_answers(segments, best, cheapest):
    """An export may hold some segments alone; what answers is chosen among the stages that it has."""
    entries = {key: each for key, each in table().entries.items() if key[:2] in segments}
    model = toy_model(segments=segments)
    predictor = Predictor(model, table=replace(table(), entries=entries))
    predictor.warm_up()
    assert predictor.predict(toy_images()).stage == best
    assert predictor.predict(toy_images(), budget_macs=1e9).stage == best
    assert predictor.predict(toy_images(), target_accuracy=0.99).stage == best
    over = predictor.predict(toy_images(), budget_macs=1)
    assert (over.stage, over.over_budget) == (cheapest, True)
    assert predictor.predict(toy_images(), deadline_ms=1e9).stage == best
    assert predictor.predict(toy_images(), deadline_ms=0).stage == cheapest
    assert {answer.stage for answer in predictor.predict_many(toy_images(2), target_accuracy=0)} == {cheapest}
    if len(segments) < 4:
        with pytest.raises(ValueError, match="no segments lead to stage 3"):
            predictor.predict(toy_images(), stage=3)


def test_whoever_no_policy_lets_go_leaves_at_the_last_stage_that_there_is():
    predictor = Predictor(
        toy_model(segments=[(0, 1), (1, 2)], validated=(0.9, 0.6, 0.5, 0.4)), policy=Never()
    )
    alone, many = predictor.predict(toy_images()), list(predictor.predict_many(toy_images(2)))
    assert [answer.stage for answer in (alone, *many)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("says", "what"),
    [
        (lambda count: np.zeros(count, int), r"int64 \(1,\)"),
        (lambda count: np.ones((count, 1), bool), r"bool \(1, 1\)"),
        (lambda count: [False] * count, "list"),
    ],
)
def test_a_policy_that_does_not_say_yes_or_no_of_each_example_is_refused(says, what):
    """Zeros as whole numbers let the first example go, as if they were its place."""

    class Vague(Never):
        def leaves(self, stage, output, memory):
            return says(len(output[0])), memory

    backend = ToyBackend()
    predictor = Predictor(PreparedModel(toy_manifest(), backend), policy=Vague())
    outputs = backend.outputs(toy_images(), [(0, 1), (1, 2), (2, 3), (3, 4)])
    for run in (
        lambda: predictor.predict(toy_images()),
        lambda: list(predictor.predict_many(toy_images())),
        lambda: simulated_exits(Vague(), outputs),
    ):
        with pytest.raises(TypeError, match=rf"Vague.leaves must return a bool array \(1,\).*not {what}"):
            run()
    assert backend.live == 0
