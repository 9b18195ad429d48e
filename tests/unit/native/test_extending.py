"""Weights that come file after file: every engine on the way is a whole one, and nothing is packed twice."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BackendError
from anytimenet.export import export
from anytimenet.export.native_files import program_of
from anytimenet.export.stored import StoredWeights
from anytimenet.native import library
from anytimenet.native.engine import Engine
from anytimenet.runtime import Session, load
from anytimenet.runtime.backends import native_sessions
from anytimenet.testing.net_under_test import redraw

if not library.is_there():
    pytest.skip("no engine", allow_module_level=True)

FAMILIES = ["isresnext_tiny", "iresnext_tiny", "doubling_both_tiny", "efficientnet_lite_tiny"]
SHAPE = (3, 8, 8)
Files = tuple[bytes, list[bytes]]


def files_of(name: str) -> Files:
    """A program and its shards."""
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    stored = StoredWeights(net)
    return program_of(net, SHAPE, stored), [data for _, data in stored.files]


@pytest.fixture(scope="module", params=FAMILIES)
def files(request: pytest.FixtureRequest) -> Files:
    return files_of(request.param)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def answers(engine: Engine) -> list[bytes]:
    """Of every stage, on poisoned memory."""
    session, found = engine.session(poison=True), []
    session.begin(image())
    for stage in range(1, engine.num_stages + 1):
        session.run(stage)
        found.append(session.output(stage).tobytes())
    return found


def test_file_after_file_the_answers_are_those_of_the_whole(files):
    program, shards = files
    whole = Engine(program, shards)
    wanted, engine, engines = answers(whole), Engine(program, []), []
    for count, shard in enumerate(shards, 1):
        engine = engine.extended([shard])
        engines.append(engine)
        assert engine.num_stages == Engine(program, shards[:count]).num_stages
        assert answers(engine) == wanted[: engine.num_stages]
    assert engine.nbytes == whole.nbytes
    assert Engine(program, shards[:1]).extended(shards[1:]).nbytes == whole.nbytes
    for stages, earlier in enumerate(engines, 1):  # they did not change
        assert earlier.num_stages == stages
        assert answers(earlier) == wanted[:stages]


def test_an_engine_lives_on_without_the_one_that_it_came_from(files):
    program, shards = files
    wanted = answers(Engine(program, shards))
    engine = Engine(program, shards[:1])
    session = engine.session()
    for shard in shards[1:]:
        engine = engine.extended([shard])
    assert answers(engine) == wanted
    session.begin(image())
    session.run(1)
    assert session.output(1).tobytes() == wanted[0]


def test_a_session_follows_and_keeps_its_state_and_outputs(files):
    program, shards = files
    wanted = answers(Engine(program, shards))
    engine = Engine(program, shards[:1])
    session = engine.session(poison=True)
    session.begin(image())
    session.run(1)
    for stage, shard in enumerate(shards[1:], 2):
        with pytest.raises(ValueError, match="does not follow"):
            session.run(stage)
        engine = engine.extended([shard])
        with pytest.raises(ValueError, match="does not follow"):
            session.run(stage)  # it keeps its engine until it is told otherwise
        session.follow(engine)
        assert session.output(1).tobytes() == wanted[0]
        session.run(stage)
        assert session.output(stage).tobytes() == wanted[stage - 1]


def test_a_session_follows_no_other_engine(files):
    program, shards = files
    first = Engine(program, shards[:1])
    second = first.extended(shards[1:2])
    session = second.session()
    for other in (first, Engine(program, shards)):
        with pytest.raises(ValueError, match="extended from its own"):
            session.follow(other)
    session.follow(second)


def test_shards_that_do_not_fit_leave_the_engine_as_it_was(files):
    program, shards = files
    engine = Engine(program, shards[:1])
    wanted = answers(engine)
    for bad in (b"", shards[1][:-4], b"\xff" * len(shards[1])):
        with pytest.raises(BackendError, match="refuses"):
            engine.extended([bad])
    with pytest.raises(BackendError, match="more shards than it knows"):
        engine.extended([*shards[1:], b""])
    assert answers(engine) == wanted
    assert answers(engine.extended(shards[1:])) == answers(Engine(program, shards))


def test_runs_go_on_in_other_threads_while_engines_are_extended():
    program, shards = files_of("isresnext_tiny")
    wanted = answers(Engine(program, shards))
    first, wrong, over = Engine(program, shards[:1]), list[int](), threading.Event()

    def work() -> None:
        session = first.session()
        while not over.is_set():
            session.begin(image())
            session.run(1)
            if session.output(1).tobytes() != wanted[0]:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        assert first.extended(shards[1:2]).extended(shards[2:]).num_stages == 3
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_progressive_delivery_reads_no_file_of_weights_twice(tmp_path, monkeypatch):
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[[f"class {i}" for i in range(10)]], preprocessing=preprocessing)
    exported = export(bundle, tmp_path / "exported", format="native")
    read: list[str] = []
    real: Callable[..., bytes] = native_sessions.read_regular

    def noted(file: Path, *about: Any) -> bytes:
        read.append(file.name)
        return real(file, *about)

    x = image()[None]
    whole = Session(load(exported), x)
    wanted = [whole.step().output[0] for _ in range(3)]
    monkeypatch.setattr(native_sessions, "read_regular", noted)
    folder = tmp_path / "arriving"
    folder.mkdir()
    for name in ("manifest.json", "program.bin"):
        shutil.copy(exported / name, folder)
    with load(folder, progressive=True) as arriving:
        sessions = []
        for stage in (1, 2, 3):
            (shard,) = exported.glob(f"model-0000{stage}-*")
            shutil.copy(shard, folder)
            sessions.append(Session(arriving.wait(stage, timeout_s=60), x))
        for stage, session in enumerate(sessions, 1):
            for step in range(1, stage + 1):
                assert np.array_equal(session.step().output[0], wanted[step - 1])
    assert sorted(name for name in read if name != "program.bin") == [
        f"model-0000{stage}-of-00003.safetensors" for stage in (1, 2, 3)
    ]
