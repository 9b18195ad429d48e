"""Deadlines on a backend that ends a run at any block: nothing finished is lost, and nothing overruns."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.stopping import BLOCKS, StoppingToy
from tests.unit.runtime.fakes.toy import SHAPE, VALIDATED, ToyBackend, toy_images, toy_manifest

import anytimenet.runtime.predictor as predictor_module
from anytimenet.core.answers.standing import standing_stage
from anytimenet.core.errors import NotFiniteError, SessionError
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.runtime.model import PreparedModel
from anytimenet.runtime.policies.thresholds import ConfidencePolicy
from anytimenet.runtime.predictor import Predictor
from anytimenet.runtime.session import Session

BLOCK_MS = 0.5
STAGE_MS = BLOCKS * BLOCK_MS


def table():
    entries = {
        (a, b, n): Latency(n * STAGE_MS * (b - a), n * STAGE_MS * (b - a), n * STAGE_MS * (b - a), 50)
        for a in range(4)
        for b in range(a + 1, 5)
        for n in (1, 3)
    }
    return CostTable("cpu", {"id": "here"}, "float32", 1, SHAPE, entries, backend="toy")


def stopping(factors=1.0, validated=VALIDATED, segments=None, **options):
    """A predictor on a fake clock; each block takes `factors` times what the table says."""
    clock = FakeClock()
    of = (lambda stage, block: factors) if isinstance(factors, float) else factors
    backend = StoppingToy(
        clock,
        lambda stage, block: clock.advance(BLOCK_MS * of(stage, block) / 1000),
        segments=segments,
    )
    measured = table()
    entries = {key: each for key, each in measured.entries.items() if key[:2] in backend.segments}
    model = PreparedModel(toy_manifest(validated=validated), backend)
    return Predictor(model, table=replace(measured, entries=entries), clock=clock, **options)


def output_of(stage):
    return ToyBackend().outputs(toy_images(), [(0, stage)])[0][0]


@pytest.mark.parametrize(
    ("deadline_ms", "stage"), [(2.5, 1), (4.4, 1), (4.6, 2), (6.9, 2), (7.1, 3), (9.0, 3), (1e9, 3)]
)
def test_every_stage_answers_whose_last_block_began_in_time(deadline_ms, stage):
    predictor = stopping()
    answer = predictor.predict(toy_images(), deadline_ms=deadline_ms)
    assert (answer.stage, answer.late) == (stage, answer.elapsed_ms > deadline_ms)
    assert answer.elapsed_ms <= deadline_ms + BLOCK_MS
    assert predictor.model.backend.live == 0


@pytest.mark.parametrize("deadline_ms", [0, -3.5, 0.001, float("-inf")])
def test_a_deadline_that_nobody_could_keep_is_answered_late_by_the_cheapest_stage(deadline_ms):
    answer = stopping().predict(toy_images(), deadline_ms=deadline_ms)
    assert (answer.stage, answer.late, answer.path) == (1, True, ((0, 1),))


@examples(60)
@given(
    deadline_ms=st.floats(-5, 40),
    factors=st.lists(st.floats(0.1, 6), min_size=4 * BLOCKS, max_size=4 * BLOCKS),
    validated=st.lists(st.sampled_from((None, 0.5, 0.7, 0.9)), min_size=4, max_size=4),
    segments=st.sampled_from(
        (None, [(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 2), (2, 4)], [(0, 1), (0, 2), (0, 3), (0, 4)])
    ),
)
def test_the_best_of_all_that_could_be_finished_in_time_answers(deadline_ms, factors, validated, segments):
    predictor = stopping(lambda stage, block: factors[(stage - 1) * BLOCKS + block], validated, segments)
    backend, reached = predictor.model.backend, (2, 4) if segments == [(0, 2), (2, 4)] else (1, 2, 3, 4)
    answer = predictor.predict(toy_images(), deadline_ms=deadline_ms)
    # By brute force: which stages the blocks that begin before the deadline finish.
    now, finished, most = 0.0, 0, standing_stage(reached, validated)
    for place, factor in enumerate(factors):
        if place // BLOCKS >= most or (place // BLOCKS >= reached[0] and now >= deadline_ms - 1e-6):
            break
        now += BLOCK_MS * factor
        finished = (place + 1) // BLOCKS
    assert answer.path[-1][1] == finished
    assert [start for start, _ in answer.path] == [0, *[stop for _, stop in answer.path[:-1]]]
    assert answer.stage == standing_stage([one for one in reached if one <= finished], validated)
    assert answer.late == (answer.elapsed_ms > deadline_ms)
    first_ms = BLOCK_MS * sum(factors[: reached[0] * BLOCKS])
    assert answer.elapsed_ms <= max(deadline_ms, first_ms) + BLOCK_MS * max(factors) + 1e-6
    logits = output_of(answer.stage)[0].astype(np.float64)
    wanted = np.exp(logits - logits.max())
    np.testing.assert_allclose(answer.probabilities, wanted / wanted.sum(), rtol=1e-5)
    assert backend.live == 0


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), making_ms=st.floats(0, 2), deadline_ms=st.floats(6, 9))
def test_the_rest_of_a_block_and_the_making_of_the_answer_are_kept_free(seed, making_ms, deadline_ms):
    """Blocks of any length: after some calls, all but a few in a hundred end in time, and nearly as far."""
    rng = np.random.default_rng(seed)
    predictor = stopping(lambda stage, block: rng.uniform(0.5, 1.5), policy=None)
    named = predictor_module.named

    def slowly(*args, **options):
        predictor._clock.advance(making_ms * rng.uniform(0.9, 1.1) / 1000)
        return named(*args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(predictor_module, "named", slowly)
        answers = [predictor.predict(toy_images(), deadline_ms=deadline_ms) for _ in range(120)]
    due = deadline_ms > 1.5 * STAGE_MS + 1.1 * making_ms  # whatever the blocks take, stage 1 is in time
    assert not due or np.mean([answer.late for answer in answers[20:]]) < 0.1
    # What is given away: the rest of the longest block, and once more its spread.
    ideal = np.clip((deadline_ms - 1.1 * making_ms - 5 * BLOCK_MS) // STAGE_MS, 1, 3)
    assert np.mean([answer.stage for answer in answers[20:]]) >= ideal - 0.5


def test_the_time_of_making_the_prediction_is_kept_free(monkeypatch):
    predictor = stopping()
    named = predictor_module.named

    def slowly(*args, **options):
        predictor._clock.advance(0.003)
        return named(*args, **options)

    monkeypatch.setattr(predictor_module, "named", slowly)
    answers = [predictor.predict(toy_images(), deadline_ms=9.6) for _ in range(40)]
    assert answers[0].late
    assert sum(answer.late for answer in answers) < 20  # what is kept free settles within some calls
    assert not any(answer.late for answer in answers[30:])
    assert {answer.stage for answer in answers[30:]} == {2}


@pytest.mark.parametrize(
    ("broken", "stage", "path"),
    [
        ((3,), 4, ((0, 3), (3, 4))),  # the best, and what it could not say a further one does
        ((1,), 3, ((0, 3),)),
        ((1, 2, 3, 4), None, None),
    ],
)
def test_numbers_that_are_not_finite_never_stand(broken, stage, path):
    predictor = stopping()
    predictor.model.backend.broken = broken
    if stage is None:
        with pytest.raises(NotFiniteError):
            predictor.predict(toy_images(), deadline_ms=1e6)
    else:
        answer = predictor.predict(toy_images(), deadline_ms=1e6)
        assert (answer.stage, answer.path) == (stage, path)
    assert predictor.model.backend.live == 0


def test_a_stage_without_numbers_at_the_deadline_is_followed_by_the_next():
    predictor = stopping()
    predictor.model.backend.broken = (1,)
    answer = predictor.predict(toy_images(), deadline_ms=3)
    assert (answer.stage, answer.late, answer.path) == (2, True, ((0, 1), (1, 2)))


def test_a_policy_is_asked_after_every_stage():
    policy = ConfidencePolicy("max_probability", (None, 0.0, None, None))
    answer = stopping(policy=policy).predict(toy_images(), deadline_ms=100)
    assert (answer.stage, answer.path) == (2, ((0, 1), (1, 2)))
    nobody = ConfidencePolicy("max_probability", (None, None, None, None))
    answer = stopping(policy=nobody).predict(toy_images(), deadline_ms=6)
    assert (answer.stage, answer.path) == (2, ((0, 1), (1, 2)))


def test_a_batch_is_planned_with_what_single_images_showed_of_the_machine():
    predictor = stopping(3.0, policy=None)
    for _ in range(40):  # each is stopped on its way, and tells of the machine all the same
        assert predictor.predict(toy_images(), deadline_ms=12).stage == 1
    assert 2.0 < predictor.planners.slowdown.mean < 4.0
    answers = list(predictor.predict_many(toy_images(3), deadline_ms=100, batch_size=3))
    assert not any(answer.late for answer in answers)


def test_where_runs_are_kept_waiting_they_are_planned_and_not_used_up():
    """Who runs until the deadline is waiting for the processor when it comes."""
    rng = np.random.default_rng(0)
    predictor = stopping(lambda stage, block: 1.0 + 10.0 * (rng.random() < 0.1), policy=None)
    paths = [predictor.predict(toy_images(), deadline_ms=20).path for _ in range(60)]
    assert predictor.planners.slowdown.waiting > 0.2
    assert {path[-1][1] for path in paths[20:]} & {1, 2}
    for _ in range(100):  # and when the others are gone
        predictor.planners.slowdown.observe(2.5, 2.5)
    predictor.model.backend.block = lambda stage, block: predictor._clock.advance(BLOCK_MS / 1000)
    assert predictor.predict(toy_images(), deadline_ms=9).path[-1][1] == 3


def test_a_machine_that_is_quicker_than_it_was_is_noticed_where_runs_are_stopped():
    predictor = stopping(policy=None)
    predictor.planners.slowdown.observe(1.0, 9.0)
    for _ in range(60):
        predictor.predict(toy_images(), deadline_ms=6)
    assert 0.8 < predictor.planners.slowdown.mean < 1.3


@examples(40)
@given(within_ms=st.lists(st.floats(-1, 8), max_size=6), saves=st.booleans())
def test_a_session_that_is_stopped_again_and_again_ends_as_one_that_never_was(within_ms, saves):
    clock = FakeClock()
    backend = StoppingToy(clock, lambda stage, block: clock.advance(BLOCK_MS / 1000))
    model = PreparedModel(toy_manifest(validated=(None,) * 4), backend)
    session = Session(model, toy_images(), clock=clock)
    for time_ms in within_ms:
        begun = clock()
        if not session.finished:
            session.run(4, within_ms=time_ms)
        assert 1000 * (clock() - begun) <= max(time_ms, 0) + BLOCK_MS + 1e-9
        if saves:
            saved = session.save()
            session.cancel()
            session = Session.restore(model, saved, clock=clock)
    session.resume() if session.left else None
    if not session.finished:
        session.run(4)
    for stage, output in session.outputs.items():
        np.testing.assert_allclose(output[0], output_of(stage), rtol=1e-5)
    assert session.peek().stage == 4
    assert backend.live == 0


def test_the_rest_of_a_jump_that_the_time_ended_is_left_to_resume():
    clock = FakeClock()
    backend = StoppingToy(clock, lambda stage, block: clock.advance(BLOCK_MS / 1000))
    session = Session(PreparedModel(toy_manifest(), backend), toy_images(), clock=clock)
    session.run([(0, 3), (3, 4)], within_ms=BLOCKS * BLOCK_MS)
    assert session.stage == 1
    assert session.left[-1] == (3, 4)
    session.resume()
    assert session.finished
    np.testing.assert_allclose(session.outputs[4][0], output_of(4), rtol=1e-5)


def test_a_session_runs_within_a_time_on_a_backend_that_cannot_be_stopped_either():
    clock = FakeClock()
    backend = ToyBackend(work=lambda start, stop, batch: clock.advance(0.002 * (stop - start)))
    session = Session(PreparedModel(toy_manifest(), backend), toy_images(), clock=clock)
    answers = session.run([(0, 1), (1, 2), (2, 3)], within_ms=3)
    assert [answer.stage for answer in answers] == [1, 2]
    assert session.left == ((2, 3),)
    assert [answer.stage for answer in session.resume()] == [3]
    assert not session.stops_anywhere
    with pytest.raises(ValueError, match="cannot end a run of 1 image"):
        session.advance_until(4, 3)


@pytest.mark.parametrize("until", [False, True])
def test_a_cancel_ends_the_run_at_the_next_block(until):
    clock, sessions = FakeClock(), []
    backend = StoppingToy(clock, lambda stage, block: stage == 2 and block == 1 and sessions[0].cancel())
    sessions.append(Session(PreparedModel(toy_manifest(), backend), toy_images(), clock=clock))
    with pytest.raises(SessionError, match="cancelled while a segment ran"):
        sessions[0].run(4, within_ms=1e6) if until else sessions[0].run(4)
    assert backend.blocks == BLOCKS + 2
    assert backend.live == 0
    assert sessions[0].peek() is None


def test_another_thread_that_cancels_ends_a_run_of_no_other_session():
    """The state of a run that is over belongs to another one: a cancel that comes late must not reach it."""
    clock = FakeClock()
    backend = StoppingToy(clock, lambda stage, block: None)
    model = PreparedModel(toy_manifest(), backend)
    first, second = (Session(model, toy_images(), clock=clock) for _ in range(2))
    first.run(2)
    thread = threading.Thread(target=first.cancel)
    thread.start()
    thread.join()
    assert [answer.stage for answer in second.run(4)] == [4]
