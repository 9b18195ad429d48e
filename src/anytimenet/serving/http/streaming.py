"""Every stage of a prediction as a server-sent event, and the answer that stands at the end."""

from __future__ import annotations

import json

from anytimenet.serving.http.answering import answer_json
from anytimenet.serving.http.door import Send
from anytimenet.serving.http.outcomes import finished, note_failure
from anytimenet.serving.http.problems import Problem
from anytimenet.serving.http.service import Service
from anytimenet.serving.http.waiting import FailedError, Waiting
from anytimenet.serving.http.wanted import Wanted
from anytimenet.serving.request import StageDone

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # proxies that know it pass each event on at once
]


async def stream(service: Service, wanted: Wanted, waiting: Waiting, send: Send) -> None:
    """Sends the events of one request.

    The response begins with the first event: a request that is refused before has a status of its own.

    Raises:
        Problem, FailedError: if there is no answer, and no event was sent.
    """
    begun = False

    async def send_event(kind: str, data: str, *, last: bool) -> None:
        nonlocal begun
        if not begun:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            begun = True
        body = f"event: {kind}\ndata: {data}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": not last})

    try:
        async for update in waiting.updates():
            if isinstance(update, StageDone):
                await send_event("stage", _stage(service, wanted, update), last=False)
            else:
                await send_event("answer", finished(service, wanted, update)[0], last=True)
    except Problem as problem:
        if not begun:
            raise
        note_failure(service, wanted, problem)
        await send_event("error", problem.body.decode(), last=True)
    except FailedError as error:
        if not begun:
            raise
        note_failure(service, wanted, error)
        await send_event(
            "error", json.dumps({"error": "the model failed at this image", "reason": "failed"}), last=True
        )


def _stage(service: Service, wanted: Wanted, update: StageDone) -> str:
    now = service.clock()
    return answer_json(
        wanted.resident,
        update.prediction,
        top=wanted.ask.top,
        late=wanted.deadline is not None and now > wanted.deadline,
        request_id=wanted.visit.request_id,
        elapsed_ms=max(0.0, 1000 * (now - wanted.visit.arrived)),
    )
