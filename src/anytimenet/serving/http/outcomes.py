"""How requests end: what their clients read, and what metrics and log know of it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from anytimenet.serving.http.answering import Times, answer_json
from anytimenet.serving.http.bodies import ClientGoneError
from anytimenet.serving.http.door import Send
from anytimenet.serving.http.metrics import OUTCOMES
from anytimenet.serving.http.problems import Problem
from anytimenet.serving.http.service import Service
from anytimenet.serving.http.wanted import Wanted
from anytimenet.serving.request import Done

JSON = (b"content-type", b"application/json")


def finished(service: Service, wanted: Wanted, done: Done) -> tuple[str, Times, bool]:
    """The JSON of an answer, its times, and whether it is late; metrics and log know of it then."""
    times, late = timed(service, wanted, done)
    body = answer_json(
        wanted.resident,
        done.prediction,
        top=wanted.ask.top,
        late=late,
        request_id=wanted.visit.request_id,
        times=times,
    )
    return body, times, late


def timed(service: Service, wanted: Wanted, done: Done) -> tuple[Times, bool]:
    """The times of an answer, and whether it is late; metrics and log know of it then."""
    now = service.clock()
    timing, visit = done.timing, wanted.visit
    times = Times(timing.queued_ms, timing.run_ms, max(0.0, 1000 * (now - visit.arrived)))
    late = wanted.deadline is not None and now > wanted.deadline
    service.metrics.answered(wanted.resident, done.prediction, times, late, wanted.ask.label)
    visit.told.update(
        model=wanted.resident.name,
        stage=done.prediction.stage,
        late=late,
        queued_ms=round(times.queued_ms, 3),
        run_ms=round(times.run_ms, 3),
    )
    if wanted.deadline is not None:
        visit.told["deadline_ms"] = round(1000 * (wanted.deadline - visit.arrived), 3)
    return times, late


def note_failure(service: Service, wanted: Wanted, error: Exception) -> None:
    """Metrics and log know why an image has no answer."""
    if isinstance(error, Problem):
        reason = error.reason
    else:
        reason = "cancelled" if isinstance(error, ClientGoneError) else "failed"
    outcome = reason if reason in OUTCOMES else "invalid"
    service.metrics.unanswered(wanted.resident.name, outcome, wanted.ask.label)
    wanted.visit.told.update(model=wanted.resident.name, reason=reason)


def answer_headers(stage: int, late: bool, times: Times) -> list[tuple[bytes, bytes]]:
    """What gateways read of an answer without its body."""
    return [
        (b"x-anytime-stage", str(stage).encode()),
        (b"x-anytime-late", b"true" if late else b"false"),
        (b"server-timing", times.server_timing),
    ]


async def respond(send: Send, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A whole response with status 200."""
    start: MutableMapping[str, Any] = {
        "type": "http.response.start",
        "status": 200,
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
