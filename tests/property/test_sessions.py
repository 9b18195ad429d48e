"""Whatever is done to a session, on every family: its outputs are those of an uninterrupted run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytimenet.bundle import Bundle
from anytimenet.core.errors import SessionError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import StageRecord
from anytimenet.export import export
from anytimenet.nets import create_net
from anytimenet.nets.registry import list_nets, net_entry
from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.batches.costs import LEAVING_MODES
from anytimenet.runtime.batches.leaving import LeavingRun
from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.runtime.model import Model
from anytimenet.runtime.policies.thresholds import ConfidencePolicy
from anytimenet.runtime.saved_session import SavedSession
from anytimenet.runtime.session import Session
from anytimenet.testing.net_under_test import count_as_estimated, redraw

ModelOf = Callable[[str, str], Model]
TINY = list_nets("*_tiny")
SETTINGS = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


ON_EAGER = [(name, "eager") for name in TINY]
EXPORTED = [("isresnext_tiny", "onnxruntime"), ("isresnext_tiny", "openvino")]


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> ModelOf:
    """Models by the name of their net and their engine, made once; exported ones jump from the input only."""

    @cache
    def bundle(name: str) -> Bundle:
        net = create_net(name, num_classes=4).eval()
        redraw(net, torch.Generator().manual_seed(0))
        count_as_estimated(net)
        channels, height, width = net_entry(name).input_shape
        preprocessing = Preprocessing(height, width, channels, (0.5,) * channels, (0.5,) * channels)
        stages = tuple(StageRecord(k, macs=k, full=k, params=k) for k in range(1, net.num_stages + 1))
        shape = (channels, height, width)
        return Bundle(net, Manifest(None, (tuple("abcd"),), preprocessing, shape, stages))

    @cache
    def folder(name: str) -> Path:
        return export(bundle(name), tmp_path_factory.mktemp("exports") / name)

    @cache
    def model(name: str, engine: str) -> Model:
        return bundle(name) if engine == "eager" else ExportedNet.load(folder(name), backend=engine)

    return model


def images(model: Model, batch: int) -> np.ndarray:
    shape = model.manifest.input_shape
    return np.random.default_rng(batch).standard_normal((batch, *shape), dtype=np.float32)


def uninterrupted(model: Model, x: np.ndarray, path: Sequence[tuple[int, int]]) -> list[Output]:
    """Bare segments, which start from the input again where the path does."""
    found, state = [], model.backend.begin(x)
    for start, stop in path:
        state = model.backend.begin(x) if start == 0 else state
        state, output = model.backend.run(start, stop, state)
        found.append(output)
    return found


OPERATIONS = st.one_of(
    st.just(("step", 0)),
    st.tuples(st.just("jump"), st.integers(1, 3)),
    st.tuples(st.just("path"), st.integers(2, 4)),
    st.just(("resume", 0)),
    st.just(("move", 0)),
    st.just(("drop", 0)),
    st.just(("cancel", 0)),
)


@pytest.mark.parametrize(("name", "engine"), [*ON_EAGER, *EXPORTED])
def test_what_is_done_to_a_session_changes_no_bit(name: str, engine: str, model_of: ModelOf) -> None:
    model = model_of(name, engine)
    stages = model.backend.num_stages

    @SETTINGS
    @given(st.lists(OPERATIONS, min_size=3, max_size=9), st.integers(1, 2))
    def drive(operations: list[tuple[str, int]], batch: int) -> None:
        x = images(model, batch)
        session = Session(model, x)
        for operation, size in operations:
            ahead = stages - session.stage
            if operation == "step" and ahead:
                session.step()
            elif operation == "jump" and ahead:
                session.run(min(session.stage + size, stages))
            elif operation == "path" and ahead >= 2:
                # Left after its first segment: the rest waits for "resume", and a step forgets it.
                next(session.answers(path_on(model, session, size)))
            elif operation == "resume":
                session.resume()
            elif operation == "move":
                session = Session.restore(model, SavedSession.from_bytes(session.save().to_bytes()))
            elif operation == "drop":
                session.drop_state()
            elif operation == "cancel":
                session.cancel()
                with pytest.raises(SessionError):
                    session.step()
                session = Session(model, x)
        list(session)
        assert session.finished
        expected = uninterrupted(model, x, session.path)
        for (_, stop), output in zip(session.path, expected, strict=True):
            for level, truth in zip(session.outputs[stop], output, strict=True):
                np.testing.assert_array_equal(level, truth)

    drive()


def path_on(model: Model, session: Session, segments: int) -> list[tuple[int, int]]:
    """From where the session is, in at most so many segments, the last of which ends at the last stage."""
    stages = model.backend.num_stages
    at = 0 if not session.state_bytes else session.stage
    stops = list(range(session.stage + 1, stages + 1))
    jumps = [*stops[: segments - 1], stages] if len(stops) >= segments else stops
    path = list(zip([at, *jumps[:-1]], jumps, strict=True))
    known = model.backend.segments
    return path if known.issuperset(path) else list(zip([at, *stops[:-1]], stops, strict=True))


@pytest.mark.parametrize(
    ("name", "engine"), [pair for pair in [*ON_EAGER, *EXPORTED] if pair[0] != "fcn_exits_tiny"]
)
def test_rows_leave_with_the_outputs_of_the_whole_batch(name: str, engine: str, model_of: ModelOf) -> None:
    model = model_of(name, engine)
    stages = model.backend.num_stages
    x = np.concatenate([images(model, 5), images(model, 2)])
    steps = [(k, k + 1) for k in range(stages)]
    truth = uninterrupted(model, x, steps)
    # Each stage lets about half of the rows go, whose confidence is the higher half's.
    sure = [np.sort(np.exp(o[0]).max(1) / np.exp(o[0]).sum(1))[[3, 4]].mean() for o in truth]
    policy = ConfidencePolicy("max_probability", (*map(float, sure[:-1]), None))
    for mode in LEAVING_MODES:
        run = LeavingRun(model, policy, path=steps, mode=mode, batch=3)
        answers = sorted(run.answers(x), key=lambda answer: answer.row)
        assert [answer.row for answer in answers] == list(range(7))
        for answer in answers:
            expected = truth[answer.stage - 1][0][[answer.row]]
            largest = np.abs(truth[answer.stage - 1][0]).max()
            np.testing.assert_allclose(
                answer.output[0], expected, rtol=0, atol=largest * model.backend.tolerance
            )
