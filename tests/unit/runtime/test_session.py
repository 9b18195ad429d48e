"""A session gives what an uninterrupted run gives, however it was interrupted, and never garbage."""

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.toy import SHAPE, ToyBackend, toy_images, toy_manifest, toy_model

from anytimenet.core.errors import SessionError
from anytimenet.runtime.model import PreparedModel
from anytimenet.runtime.saved_session import SavedSession
from anytimenet.runtime.session import Session

STEPS = [(0, 1), (1, 2), (2, 3), (3, 4)]


def equal(outputs, path, x, model):
    """Whether the outputs are bit for bit those of bare segments."""
    for (_, stop), expected in zip(path, model.backend.outputs(x, path), strict=True):
        np.testing.assert_array_equal(outputs[stop][0], expected[0])


@st.composite
def paths(draw, stages=4):
    stops = sorted(draw(st.sets(st.integers(1, stages), min_size=1)))
    return list(zip([0, *stops[:-1]], stops, strict=True))


def test_steps_jumps_and_whole_paths_are_those_of_bare_segments():
    x, model = toy_images(2), toy_model()
    session = Session(model, x)
    assert session.peek() is None
    assert [session.step().stage for _ in range(4)] == [1, 2, 3, 4]
    assert session.finished
    equal(session.outputs, STEPS, x, model)
    session = Session(model, x)
    assert [answer.segment for answer in session.run([(0, 2), (2, 4)])] == [(0, 2), (2, 4)]
    equal(session.outputs, session.path, x, model)
    assert model.backend.live == 0


def test_a_stage_is_reached_by_the_fewest_segments():
    session = Session(toy_model(segments=[(0, 1), (1, 2), (2, 4), (0, 3)]), toy_images())
    session.step()
    assert [answer.segment for answer in session.run(4)] == [(1, 2), (2, 4)]


def test_where_no_segment_leads_on_the_run_starts_again_from_the_input():
    x, model = toy_images(), toy_model(segments=[(0, 1), (0, 2), (0, 4)])
    session = Session(model, x)
    assert [answer.segment for answer in session] == [(0, 1), (0, 2), (0, 4)]
    np.testing.assert_array_equal(session.outputs[4][0], model.backend.outputs(x, [(0, 4)])[0][0])
    assert model.backend.live == 0


def test_the_best_validated_stage_stands():
    session = Session(toy_model(), toy_images())
    standing = []
    for _ in session:
        answer = session.peek()
        assert answer is not None
        standing.append(answer.stage)
    assert standing == [1, 2, 3, 3]  # 0.6, 0.7, 0.9, 0.8


def test_after_the_last_stage_a_step_is_refused_and_an_iteration_is_empty():
    session = Session(toy_model(), toy_images())
    session.run(4)
    with pytest.raises(SessionError, match="stage 4 is the last, and it is finished"):
        session.step()
    assert list(session) == []
    with pytest.raises(ValueError, match="stage 4 is not ahead: stage 4 is finished"):
        session.run(4)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (0, "stage must be from 1 to 4"),
        (5, "stage must be from 1 to 4"),
        ([(1, 2)], r"segment \(1, 2\) starts at stage 1, where the path is at the input"),
        ([(0, 2), (3, 4)], "starts at stage 3, where the path is at stage 2"),
        ([(0, 2), (0, 1)], "goes no further than stage 2"),
        ([(0, 9)], r"segment \(0, 9\) cannot be run: the backend has \(0, 1\), "),
        ([(0, 1, 2)], "a list of segments"),
    ],
)
def test_a_path_that_cannot_be_run_is_refused_before_anything_runs(to, message):
    model = toy_model()
    with pytest.raises(ValueError, match=message):
        Session(model, toy_images()).run(to)
    assert model.backend.ran == []


@pytest.mark.parametrize("to", ["ab", 1.5, None, True, [1, 2]])
def test_what_is_neither_stage_nor_path_is_refused(to):
    with pytest.raises(TypeError):
        Session(toy_model(), toy_images()).run(to)


@given(
    path=paths(), pauses=st.sets(st.integers(0, 3)), saved=st.sets(st.integers(0, 3)), batch=st.integers(1, 3)
)
def test_pauses_and_moves_to_another_process_change_no_bit(path, pauses, saved, batch):
    x, model = toy_images(batch), toy_model()
    session = Session(model, x)
    model.backend.work = lambda start, stop, batch: start in pauses and session.pause()
    session.run(path)
    while session.left:
        if session.stage in saved:
            session = Session.restore(toy_model(), SavedSession.from_bytes(session.save().to_bytes()))
        session.resume()
    assert session.path == tuple(path)
    equal(session.outputs, path, x, model)


def test_a_pause_holds_from_any_moment_until_resume():
    session = Session(toy_model(), toy_images())
    session.pause()
    assert session.run([(0, 1), (1, 2)]) == ()
    with pytest.raises(SessionError, match=r"paused: resume\(\) goes on"):
        session.step()
    assert [answer.stage for answer in session.resume()] == [1, 2]
    session.step()


def test_an_iteration_that_was_left_goes_on_where_it_was():
    session = Session(toy_model(), toy_images())
    for answer in session.answers([(0, 1), (1, 2), (2, 4)]):
        if answer.stage == 1:
            break
    assert session.left == ((1, 2), (2, 4))
    for _ in session:
        session.pause()
    assert session.stage == 2
    assert [answer.stage for answer in session] == [4]


def test_a_saved_session_survives_a_file(tmp_path):
    x, model = toy_images(2), toy_model()
    session = Session(model, x, clock=FakeClock(5))
    session.run(2)
    session.save().write(tmp_path / "run.safetensors")
    saved = SavedSession.read(tmp_path / "run.safetensors")
    again = Session.restore(toy_model(), saved)
    session.step()  # saving used nothing up
    again.step()
    np.testing.assert_array_equal(again.outputs[3][0], session.outputs[3][0])
    assert again.path == session.path == ((0, 2), (2, 3))
    np.testing.assert_array_equal(again.outputs[2][0], session.outputs[2][0])
    assert saved.nbytes > x.nbytes


def test_time_stands_still_while_a_session_is_saved():
    clock = FakeClock(100)
    session = Session(toy_model(work=lambda *_: clock.advance(0.25)), toy_images(), clock=clock)
    session.run([(0, 1), (1, 2)])
    saved, later = session.save(), FakeClock(1e6)
    again = Session.restore(toy_model(work=lambda *_: later.advance(0.5)), saved, clock=later)
    answer = again.step()
    assert (answer.segment_ms, answer.elapsed_ms) == pytest.approx((500, 1000))
    peeked = again.peek()
    assert peeked is not None
    assert peeked.elapsed_ms == pytest.approx(1000)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:200],
        lambda data: data[:-1],
        lambda data: data.replace(b'\\"format\\": 1', b'\\"format\\": 7'),
        lambda data: data.replace(b'\\"at\\": 2', b'\\"at\\": 3'),
        lambda data: data.replace(b"[[0, 2]]", b"[[0, 3]]"),
        lambda data: data.replace(b"state/", b"stale/").replace(b"output/2/0", b"output/4/0"),
    ],
)
def test_a_damaged_session_is_refused_in_words(damage):
    session = Session(toy_model(), toy_images())
    session.run(2)
    data = session.save().to_bytes()
    assert damage(data) != data
    with pytest.raises(SessionError, match=r"no saved session, or it is damaged|is of format 7"):
        SavedSession.from_bytes(damage(data))


def test_a_session_of_another_net_is_refused():
    saved = Session(toy_model(), toy_images()).save()
    with pytest.raises(SessionError, match="saved with another net"):
        Session.restore(toy_model(validated=(0.1, 0.2, 0.3, 0.4)), saved)


def test_what_is_left_of_a_path_has_to_be_there_where_it_goes_on():
    session = Session(toy_model(), toy_images())
    next(session.answers([(0, 1), (1, 3)]))
    with pytest.raises(ValueError, match=r"segment \(1, 3\) cannot be run"):
        Session.restore(toy_model(segments=STEPS), session.save())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: {"x": saved.x[:1]}, "not of one batch"),
        (
            lambda saved: {"tensors": {name: one[:1] for name, one in saved.tensors.items()}},
            "not of one batch",
        ),
        (lambda saved: {"outputs": {2: (saved.outputs[2][0][:, :3],)}}, r"stage 2 has shapes \[\(2, 3\)\]"),
        (lambda saved: {"outputs": {2: (saved.outputs[2][0][:, 0],)}}, r"stage 2 has shapes \[\(2,\)\]"),
        (lambda saved: {"x": saved.x * np.nan}, "NaN"),
        (
            lambda saved: {
                "path": ((0, 9),),
                "outputs": {9: saved.outputs[2]},
                "times_ms": {9: (1.0, 1.0)},
                "at": 0,
                "tensors": {},
            },
            "stage 9",
        ),
    ],
)
def test_a_saved_session_whose_parts_do_not_fit_is_refused(change, message):
    session = Session(toy_model(), toy_images(2))
    session.run(2)
    saved = session.save()
    with pytest.raises(ValueError, match=message):
        Session.restore(toy_model(), replace(saved, **change(saved)))
    assert Session.restore(toy_model(), saved).step().stage == 3


def test_a_state_that_nothing_goes_on_from_is_saved_as_none():
    class NoState(ToyBackend):
        def save(self, state):
            return {}

    x, model = toy_images(), PreparedModel(toy_manifest(), NoState(segments=[(0, 1), (0, 4)]))
    session = Session(model, x)
    session.step()
    again = Session.restore(model, SavedSession.from_bytes(session.save().to_bytes()))
    assert [answer.segment for answer in again] == [(0, 4)]
    equal(again.outputs, [(0, 1), (0, 4)], x, model)


def test_without_its_state_a_session_keeps_its_answers_and_starts_again():
    x, model = toy_images(), toy_model()
    session = Session(model, x)
    session.run(2)
    assert session.state_bytes == x.nbytes + 2 * 3 * 4
    session.drop_state()
    assert session.state_bytes == model.backend.live == 0
    assert session.peek().stage == 2
    assert session.step().segment == (0, 3)
    assert session.path == ((0, 2), (0, 3))
    np.testing.assert_array_equal(session.outputs[3][0], model.backend.outputs(x, [(0, 3)])[0][0])


def test_a_segment_that_fails_leaves_a_session_that_can_go_on():
    def broken(start, stop, batch):
        if start:
            raise MemoryError("no room")

    x, model = toy_images(), toy_model(work=broken)
    session = Session(model, x)
    with pytest.raises(MemoryError):
        session.run(STEPS)
    assert (session.stage, session.left, model.backend.live) == (1, (), 0)
    assert session.step().segment == (0, 2)


class Held:
    """Holds the segment that starts at `start` up until it is let go; a worker runs the session."""

    def __init__(self, start):
        self.start, self.inside, self.go = start, threading.Event(), threading.Event()
        self.error = None

    def __call__(self, start, stop, batch):
        if start == self.start:
            self.inside.set()
            assert self.go.wait(10)

    def run(self, call, meanwhile):
        def work():
            try:
                call()
            except BaseException as error:
                self.error = error

        thread = threading.Thread(target=work)
        thread.start()
        assert self.inside.wait(10)
        meanwhile()
        self.go.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_cancel_during_a_segment_drops_its_result_and_frees_the_state():
    held = Held(1)
    model = toy_model(work=held)
    session = Session(model, toy_images())
    held.run(lambda: session.run(STEPS), session.cancel)
    assert isinstance(held.error, SessionError)
    assert "while a segment ran" in str(held.error)
    assert (session.stage, session.state_bytes, model.backend.live) == (1, 0, 0)
    assert model.backend.ran == [(0, 1), (1, 2)]
    assert session.peek().stage == 1  # what finished before can be read
    for call in (session.step, session.resume, session.save, lambda: session.run(4), lambda: list(session)):
        with pytest.raises(SessionError, match="was cancelled: begin another"):
            call()
    session.cancel()
    session.drop_state()


@given(turns=st.lists(st.sampled_from(["step", "run", "resume", "save", "drop", "cancel"]), max_size=6))
def test_threads_on_one_session_get_answers_or_errors_and_leave_no_state(turns):
    """Whatever two threads do at once: what there is afterwards is that of an uninterrupted run."""
    x, model = toy_images(), toy_model()
    session, unexpected = Session(model, x), []
    calls = {
        "step": session.step,
        "run": lambda: session.run(4),
        "resume": session.resume,
        "save": session.save,
        "drop": session.drop_state,
        "cancel": session.cancel,
    }

    def work(names):
        for name in names:
            try:
                calls[name]()
            except SessionError:
                pass
            except ValueError as error:  # stage 4 was finished by the other thread
                if "not ahead" not in str(error):
                    unexpected.append(error)
            except BaseException as error:
                unexpected.append(error)

    threads = [threading.Thread(target=work, args=(names,)) for names in (turns, turns[::-1], ["step"] * 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not unexpected
    equal(session.outputs, session.path, x, model)
    session.cancel()
    assert model.backend.live == 0


@given(path=paths(), when=st.integers(0, 3))
def test_a_run_that_was_cancelled_and_begun_again_is_the_uninterrupted_one(path, when):
    x, model = toy_images(), toy_model()
    session = Session(model, x)
    model.backend.work = lambda start, stop, batch: start == when and session.cancel()
    if any(start == when for start, _ in path):
        with pytest.raises(SessionError):
            session.run(path)
        assert model.backend.live == 0
    model.backend.work = None
    again = Session(model, x)
    again.run(path)
    equal(again.outputs, path, x, model)


def test_an_iteration_that_is_cancelled_does_not_end_as_if_it_were_finished():
    session = Session(toy_model(), toy_images())
    answers = iter(session)
    next(answers)
    session.cancel()
    with pytest.raises(SessionError, match="cancelled between two segments"):
        next(answers)
    whole = Session(toy_model(), toy_images())
    for answer in whole:
        if answer.stage == 4:
            whole.cancel()  # of what is finished nothing is lost


def test_an_iteration_whose_path_another_thread_drops_meanwhile_ends():
    session = Session(toy_model(), toy_images())
    answers = iter(session)
    next(answers)
    hold = session._run.hold

    def drop_before_holding():
        session._run.hold = hold
        session.drop_state()
        hold()

    session._run.hold = drop_before_holding
    assert list(answers) == []
    assert session.step().segment == (0, 2)


def test_a_cancel_between_segments_frees_the_state_at_once():
    model = toy_model()
    session = Session(model, toy_images())
    session.step()
    session.cancel()
    assert model.backend.live == 0


def test_a_second_thread_gets_an_error_and_the_first_its_answer():
    held, x = Held(0), toy_images()
    model = toy_model(work=held)
    session = Session(model, x)

    def meanwhile():
        for call in (session.step, lambda: session.run(2), session.save, session.drop_state, session.resume):
            with pytest.raises(SessionError, match="running in another thread"):
                call()
        assert session.peek() is None
        assert session.stage == 0

    held.run(session.step, meanwhile)
    assert held.error is None
    equal(session.outputs, [(0, 1)], x, model)


def test_a_pause_during_a_segment_counts_its_answer():
    held = Held(0)
    session = Session(toy_model(work=held), toy_images())
    held.run(lambda: session.run(STEPS), session.pause)
    assert (session.stage, session.left) == (1, tuple(STEPS[1:]))


def test_answers_come_under_async_for_while_the_event_loop_is_free():
    async def main():
        loop, turns = asyncio.get_running_loop(), []
        waiting = threading.Event()

        def work(start, stop, batch):
            # The segment ends only because the loop runs meanwhile.
            loop.call_soon_threadsafe(lambda: (turns.append(stop), waiting.set()))
            assert waiting.wait(10)
            waiting.clear()

        x, model = toy_images(), toy_model(work=work)
        session = Session(model, x)
        stages = [answer.stage async for answer in session.answers([(0, 1), (1, 4)])]
        assert stages == turns == [1, 4]
        equal(session.outputs, [(0, 1), (1, 4)], x, model)
        assert [answer.stage async for answer in session] == []

    asyncio.run(main())


def test_a_task_that_is_cancelled_leaves_a_session_that_can_go_on():
    held = Held(1)
    x, model = toy_images(), toy_model(work=held)
    session = Session(model, x)

    async def main():
        async def consume():
            async for _ in session:
                pass

        task = asyncio.create_task(consume())
        await asyncio.to_thread(held.inside.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.go.set()

    asyncio.run(main())  # waits for its threads
    assert session.stage == 2
    session.resume()
    equal(session.outputs, STEPS, x, model)


def test_a_clock_that_jumps_back_gives_no_negative_time():
    clock = FakeClock(100)
    session = Session(toy_model(work=lambda *_: clock.advance(-50)), toy_images(), clock=clock)
    answer = session.step()
    assert (answer.segment_ms, answer.elapsed_ms, session.elapsed_ms) == (0, 0, 0)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, *SHAPE), np.float32), "the batch is empty"),
        (np.zeros((1, 3, 4, 4), np.float32), r"float input of shape \(1, 3, 4, 4\): this net reads stand"),
        (np.zeros((1, 1, 5, 4), np.float32), "this net reads standardised images"),
        (np.zeros(SHAPE, np.float32), "this net reads standardised images"),
        (np.full((2, *SHAPE), np.nan, np.float32), "the input holds NaN: 32 of its 32 numbers"),
        (np.full((1, *SHAPE), -np.inf, np.float32), r"holds infinity.*the first at \(0, 0, 0, 0\)"),
        (np.full((1, *SHAPE), 1e300), "holds infinity: 16 of"),
        (np.zeros((1, *SHAPE), np.int64), "uint8"),
        (np.zeros((1, *SHAPE), np.complex64), "uint8"),
        ("nowhere.png", "nowhere.png does not exist"),
        (None, "predict reads a path"),
        ([], "predict reads a path"),
    ],
)
def test_an_input_that_cannot_be_run_is_refused_in_one_line(x, message):
    with pytest.raises(ValueError, match=message) as caught:
        Session(toy_model(), x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "read",
    [
        lambda pixels, floats: pixels,
        lambda pixels, floats: pixels[:, :, None],
        lambda pixels, floats: Image.fromarray(pixels),
        lambda pixels, floats: floats.astype(np.float64),
        lambda pixels, floats: floats.astype(">f4"),
        lambda pixels, floats: np.asfortranarray(floats),
    ],
    ids=["array", "array with channels", "image", "float64", "big-endian", "column-major"],
)
def test_pixels_and_floats_of_any_precision_order_and_layout_are_read(read):
    model, pixels = toy_model(), np.arange(16, dtype=np.uint8).reshape(4, 4)
    floats = model.manifest.preprocessing.standardise(pixels[None, :, :, None])
    output = Session(model, read(pixels, floats)).step().output
    np.testing.assert_array_equal(output[0], model.backend.outputs(floats, [(0, 1)])[0][0])


def test_the_session_is_not_moved_by_what_the_caller_does_to_his_array():
    x, model = toy_images(), toy_model()
    session = Session(model, x)
    before = x.copy()
    x[...] = np.nan
    session.run(4)
    equal(session.outputs, [(0, 4)], before, model)


def test_a_warm_up_prepares_and_runs_the_segments_of_a_path_once():
    model = toy_model()
    Session.warm_up(model, [(0, 2), (2, 4)], batch=3)
    assert model.backend.ran == [(0, 2), (2, 4)]
    assert set(model.backend.prepared) == {(0, 2), (2, 4)}
    assert model.backend.live == 0
    Session.warm_up(model)
    assert model.backend.ran[2:] == STEPS
