"""Predictors and sessions on the real engine: whatever stops them, what they answer is bit-equal."""

import contextlib
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.answers.standing import standing_stage
from anytimenet.core.errors import SessionError
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.export import export
from anytimenet.native import library
from anytimenet.runtime import ExportedNet, Placement, Predictor, Session
from anytimenet.testing.net_under_test import redraw

if not library.is_there():
    pytest.skip("no engine", allow_module_level=True)

SHAPE = (3, 8, 8)
ACCURACIES = (0.5, 0.45, 0.8)
"""The second stage answers for nobody."""


def exported(name, folder, accuracies=ACCURACIES) -> ExportedNet:
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    bundle = Bundle.create(
        net,
        class_names=[[f"class {number}" for number in range(classes)] for classes in net.num_classes],
        preprocessing=Preprocessing(*SHAPE[1:], SHAPE[0], (0.5,) * 3, (0.5,) * 3),
        val_accuracies=accuracies,
    )
    return ExportedNet.load(export(bundle, folder, format="native"))


def table(net: ExportedNet) -> CostTable:
    entries = {(*pair, 1): Latency(0.05, 0.05, 0.05, 50) for pair in net.segments}
    return CostTable("cpu", machine_stamp(), "float32", 1, SHAPE, entries, backend="native")


@pytest.fixture(scope="module")
def sliced(tmp_path_factory) -> ExportedNet:
    return exported("isresnext_tiny", tmp_path_factory.mktemp("native") / "sliced")


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "anywhere"),
    [
        ("isresnext_tiny", True),
        ("efficientnet_lite_tiny", True),
        ("doubling_width_tiny", True),
        ("iresnext_tiny", False),  # its heads are whole networks
    ],
)
def test_a_net_whose_heads_are_short_answers_anywhere(name, anywhere, tmp_path):
    net = exported(name, tmp_path / "folder", None)
    assert net.backend.answers_anywhere == anywhere
    assert Session(net, image()).stops_anywhere == anywhere
    assert not Session(net, np.concatenate([image(), image()])).stops_anywhere


@examples(60, suppress_health_check=list(HealthCheck))
@given(deadline_ms=st.floats(-0.1, 0.6), seed=st.integers(0, 99))
def test_whatever_a_deadline_leaves_is_bit_equal_to_the_whole_run_of_that_stage(sliced, deadline_ms, seed):
    predictor = Predictor(sliced, table=table(sliced))
    answer = predictor.predict(image(seed), deadline_ms=deadline_ms)
    whole = predictor.predict(image(seed), stage=answer.stage)
    assert np.array_equal(answer.probabilities, whole.probabilities)
    finished = range(1, answer.path[-1][1] + 1)
    assert answer.stage == standing_stage(finished, ACCURACIES)
    assert answer.late == (answer.elapsed_ms > deadline_ms)


def test_time_enough_and_none(sliced):
    predictor = Predictor(sliced, table=table(sliced))
    assert predictor.predict(image(), deadline_ms=1e5).path == ((0, 3),)
    late = predictor.predict(image(), deadline_ms=0)
    assert (late.stage, late.late, late.path) == (1, True, ((0, 1),))


@examples(40, suppress_health_check=list(HealthCheck))
@given(within_ms=st.lists(st.floats(0, 0.3), max_size=5), seed=st.integers(0, 99), saves=st.booleans())
def test_a_session_that_was_stopped_and_resumed_is_bit_equal(sliced, within_ms, seed, saves):
    session = Session(sliced, image(seed))
    for time_ms in within_ms:
        if not session.finished:
            session.run(3, within_ms=time_ms)
        if saves:
            session = Session.restore(sliced, session.save())
    if not session.finished:
        session.run(3)
    for stage, output in session.outputs.items():
        assert output[0].tobytes() == Session(sliced, image(seed)).run(stage)[0].output[0].tobytes()
    assert session.path[-1][1] == 3
    assert session.peek().stage == 3


def test_a_cancel_from_another_thread_ends_a_run_that_is_under_way(sliced):
    """Of a large batch, so that the run is under way for long; the engine ends at the next block.

    On a busy machine this thread may come too late: then it tries again.
    """
    x = np.tile(image(), (2000, 1, 1, 1))
    for _ in range(30):
        session = Session(sliced, x)
        finished: list[int] = []

        def run(session: Session = session, finished: list[int] = finished) -> None:
            with contextlib.suppress(SessionError):
                finished.extend(answer.stage for answer in session.run([(0, 3)]))

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive() and session._run._taken is None:
            time.sleep(0)
        session.cancel()
        thread.join()
        if not finished:
            break
    assert finished == []
    assert session.peek() is None
    assert Session(sliced, image()).run(3)[0].stage == 3


def test_cancels_from_another_thread_spoil_no_other_run(sliced):
    """The sessions of the engine go from run to run; a cancel that comes too late must not reach the next."""
    wanted = Session(sliced, image()).run(3)[0].output[0].tobytes()
    ended = [0, 0]
    for _ in range(300):
        session = Session(sliced, image())
        thread = threading.Thread(target=session.cancel)
        thread.start()
        try:
            session.run(3)
        except SessionError:
            ended[0] += 1
        else:
            ended[1] += 1
        assert Session(sliced, image()).run(3)[0].output[0].tobytes() == wanted
        thread.join()
    assert sum(ended) == 300


def test_images_of_a_batch_in_threads_are_cancelled_together(sliced):
    net = ExportedNet.load(sliced.folder, placement=Placement(threads=2))
    session = Session(net, np.concatenate([image(), image(1)]))
    session.cancel()
    with pytest.raises(SessionError):
        session.run(3)
