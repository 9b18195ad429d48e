"""A server on a toy net: every request ends once, with what an uninterrupted run answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from tests.unit.runtime.fakes.toy import VALIDATED, ToyBackend, toy_images, toy_model

from anytimenet.core.errors import BackendError
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.runtime.model import PreparedModel
from anytimenet.serving.model_server import ModelServer
from anytimenet.serving.request import (
    Done,
    Failed,
    InvalidInputError,
    Overloaded,
    Refused,
    Request,
    StageDone,
    Update,
)

ENDS = (Done, Refused, Failed)


def table(step_ms: float = 1.0, backend: str = "toy") -> CostTable:
    entries = {
        (a, b, 1): Latency(step_ms * (b - a), step_ms * (b - a), step_ms * (b - a), repeats=50)
        for a in range(4)
        for b in range(a + 1, 5)
    }
    return CostTable("cpu", {"id": "0" * 8}, "float32", 1, (1, 4, 4), entries, backend=backend)


class Client:
    """Collects the updates of one request."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self._over = threading.Event()

    def __call__(self, update: Update) -> None:
        self.updates.append(update)
        if isinstance(update, ENDS):
            self._over.set()

    def end(self) -> Update:
        assert self._over.wait(20), f"no end came, only {self.updates}"
        return self.updates[-1]


class Gate:
    """Holds every segment up until it is opened."""

    def __init__(self) -> None:
        self.inside, self.opened = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, start: int, stop: int, batch: int) -> None:
        if self.active:
            self.inside.release()
            assert self.opened.acquire(timeout=20)

    active = False


def served(
    work: Callable[[int, int, int], object] | None = None, **more: object
) -> tuple[ModelServer, ToyBackend]:
    model = toy_model(work=work)
    server = ModelServer(model, table=table(), threads=more.pop("threads", 1), **more)  # type: ignore[arg-type]
    assert isinstance(model.backend, ToyBackend)
    return server, model.backend


def asks(server: ModelServer, seconds: float | None = 30.0, seed: int = 0, **more: object) -> Client:
    client, now = Client(), time.monotonic()
    request = Request(now, None if seconds is None else now + seconds, **more)  # type: ignore[arg-type]
    server.submit(toy_images(seed=seed), request, client)
    return client


def test_with_time_enough_the_best_validated_stage_answers():
    server, backend = served()
    with server:
        for seconds in (30.0, None):
            end = asks(server, seconds).end()
            assert isinstance(end, Done)
            assert end.prediction.stage == 1 + int(np.argmax(VALIDATED))
            assert not end.timing.late
            whole = ToyBackend().outputs(toy_images(), [(0, end.prediction.stage)])[0]
            np.testing.assert_allclose(end.prediction.probabilities.argmax(), whole[0][0].argmax())
    assert backend.live == 0


def test_a_stream_tells_every_stage_in_order_and_the_answer_last():
    server, _ = served()
    with server:
        client = asks(server, stream=True)
        client.end()
    assert [u.stage for u in client.updates if isinstance(u, StageDone)] == [1, 2, 3]
    assert isinstance(client.updates[-1], Done)


def test_many_clients_of_many_threads_each_get_one_end():
    server, backend = served(threads=3)
    found: list[Client] = []

    def many(seed: int) -> None:
        found.extend(asks(server, 30.0, seed=seed * 100 + each) for each in range(25))

    threads = [threading.Thread(target=many, args=(seed,)) for seed in range(4)]
    with server:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends = [client.end() for client in found]
        status = server.snapshot()
    assert len(ends) == 100
    assert all(isinstance(end, Done) for end in ends)
    assert all(sum(isinstance(u, ENDS) for u in client.updates) == 1 for client in found)
    assert sum(status.outcomes.values()) == 100
    assert sum(status.stages.values()) == 100
    assert backend.live == 0


def test_what_cannot_be_in_time_is_refused_at_once_and_no_work_begins():
    server, backend = served()
    with server:
        began = len(backend.ran)
        with pytest.raises(Overloaded, match="longer than the deadline"):
            asks(server, 0.0001)
        assert len(backend.ran) == began
        assert server.snapshot().outcomes["expired"] == 1


def test_a_full_queue_is_an_overload_that_says_when_to_come_again():
    gate = Gate()
    server, _ = served(gate, queue_limit=2)
    with server:
        gate.active = True
        first = asks(server)
        assert gate.inside.acquire(timeout=20)
        others = [asks(server), asks(server)]
        with pytest.raises(Overloaded) as refused:
            asks(server)
        assert refused.value.retry_after_s > 0
        gate.active = False
        gate.opened.release(1)
        assert all(isinstance(client.end(), Done) for client in (first, *others))


def test_a_cancelled_request_ends_at_the_next_border():
    gate = Gate()
    server, backend = served(gate)
    with server:
        gate.active = True
        running, waiting = Client(), Client()
        now = time.monotonic()
        ticket = server.submit(toy_images(), Request(now, now + 30), running)
        assert gate.inside.acquire(timeout=20)
        other = server.submit(toy_images(), Request(now, now + 30), waiting)
        other.cancel()
        assert isinstance(waiting.end(), Refused)
        ticket.cancel()
        ticket.cancel()
        assert not running.updates
        gate.active = False
        gate.opened.release(1)
        end = running.end()
        assert end == Refused("cancelled")
    assert backend.ran[-1] == (0, 1)
    assert backend.live == 0


def test_a_segment_that_fails_fails_its_request_and_no_other():
    failing = {"now": False}

    def work(start: int, stop: int, batch: int) -> None:
        if failing["now"]:
            failing["now"] = False
            raise BackendError("the engine is gone")

    server, _ = served(work)
    with server:
        failing["now"] = True
        end = asks(server).end()
        assert isinstance(end, Failed)
        assert "the engine is gone" in str(end.error)
        assert isinstance(asks(server).end(), Done)
        assert server.snapshot().outcomes["failed"] == 1


def test_closing_answers_who_has_begun_and_refuses_who_waits():
    gate = Gate()
    server, backend = served(gate)
    gate.active = True
    running = asks(server)
    assert gate.inside.acquire(timeout=20)
    waiting = asks(server)
    closing = threading.Thread(target=server.close)
    closing.start()
    refused = waiting.end()
    assert isinstance(refused, Refused)
    assert refused.reason == "closing"
    gate.active = False
    gate.opened.release(1)
    closing.join(20)
    end = running.end()
    assert isinstance(end, Done)
    assert end.prediction.stage == 1
    with pytest.raises(Overloaded, match="closing"):
        asks(server)
    assert backend.live == 0


def test_a_server_that_may_not_drain_fails_who_is_under_way():
    gate = Gate()
    server, backend = served(gate)
    gate.active = True
    running = asks(server)
    assert gate.inside.acquire(timeout=20)
    server.close(drain_s=0)
    assert isinstance(running.end(), Failed)
    gate.active = False
    gate.opened.release(1)
    for thread in server._threads:
        thread.join(20)
    assert len(running.updates) == 1
    assert backend.live == 0


def test_a_client_that_raises_harms_nobody(caplog):
    server, _ = served()
    with server:
        now = time.monotonic()
        told = threading.Event()

        def breaks(update: Update) -> None:
            told.set()
            raise RuntimeError("gone")

        server.submit(toy_images(), Request(now, now + 30), breaks)
        assert told.wait(20)
        assert isinstance(asks(server).end(), Done)
    assert "could not be told" in caplog.text


def test_numbers_that_are_not_finite_are_never_an_answer():
    model = toy_model()
    assert isinstance(model.backend, ToyBackend)
    model.backend._heads[2][0][...] = np.nan  # stage 3, the best validated
    with ModelServer(PreparedModel(model.manifest, model.backend), table=table(), threads=1) as server:
        end = asks(server).end()
        assert isinstance(end, Done)
        assert end.prediction.stage in (2, 4)


def test_bad_requests_say_what_is_wrong():
    server, _ = served()
    with server:
        with pytest.raises(ValueError, match="min_stage 9: this net has 4 stages"):
            asks(server, min_stage=9)
        with pytest.raises(ValueError, match=r"min_accuracy 0.95: no stage"):
            asks(server, min_accuracy=0.95)
        with pytest.raises(ValueError, match="one image"):
            server.submit(toy_images(2), Request(0.0), print)
        with pytest.raises(ValueError, match="NaN"):
            server.submit(np.full((1, 1, 4, 4), np.nan, np.float32), Request(0.0), print)
        end = asks(server, min_accuracy=0.9).end()
        assert isinstance(end, Done)
        assert end.prediction.stage == 3


def test_an_input_is_made_when_its_turn_has_come_and_not_for_who_is_refused():
    server, backend = served()
    made: list[int] = []

    def make() -> np.ndarray:
        made.append(len(made))
        return toy_images()

    with server:
        now, client = time.monotonic(), Client()
        with pytest.raises(Overloaded):
            server.submit(make, Request(now, now + 1e-6), client)
        assert not made
        server.submit(make, Request(now, now + 30), client)
        end = client.end()
        assert isinstance(end, Done)
        assert made == [0]
        np.testing.assert_array_equal(
            end.prediction.probabilities,
            asks(server).end().prediction.probabilities,
        )
    assert backend.live == 0


def test_an_input_that_cannot_be_made_ends_its_request_alone():
    server, backend = served()

    def fail() -> np.ndarray:
        raise ValueError("no image")

    with server:
        now, client = time.monotonic(), Client()
        server.submit(fail, Request(now, now + 30), client)
        end = client.end()
        assert isinstance(end, Failed)
        assert isinstance(end.error, InvalidInputError)
        assert isinstance(end.error.__cause__, ValueError)
        assert isinstance(asks(server).end(), Done)
        assert server.snapshot().outcomes["invalid"] == 1
        assert server.snapshot().outcomes["failed"] == 0
    assert backend.live == 0


def test_who_drives_runs_the_segments_and_gives_them_back():
    server, _ = served()
    woken = threading.Event()
    with server:
        server.drive(woken.set)
        woken.clear()
        client = asks(server)
        assert woken.is_set()
        time.sleep(0.05)
        assert not client.updates  # no thread has taken it
        while server.step() is not None:
            pass
        assert isinstance(client.updates[-1], Done)
        waits = asks(server)
        server.drive(None)
        assert isinstance(waits.end(), Done)
        assert server.step() is None
