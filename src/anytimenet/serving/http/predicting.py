"""`POST /v1/predict`: from a request's bytes to its answer's, with nothing between that takes long."""

from __future__ import annotations

import asyncio
import time

from anytimenet.serving.http.asking import asked
from anytimenet.serving.http.bodies import ClientGoneError, Receive
from anytimenet.serving.http.door import VISIT, Scope, Send
from anytimenet.serving.http.outcomes import JSON, answer_headers, finished, note_failure, respond
from anytimenet.serving.http.pictures import images_in, is_image
from anytimenet.serving.http.problems import Problem, bad_request
from anytimenet.serving.http.service import Service
from anytimenet.serving.http.streaming import stream
from anytimenet.serving.http.waiting import FailedError, Waiting, Watched
from anytimenet.serving.http.wanted import Wanted, begun, foreseen, is_long, settled
from anytimenet.serving.request import Done


class Predict:
    """The endpoint; an ASGI application, for a layer less.

    Args:
        service: the state of the server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        service, visit = self._service, scope[VISIT]
        headers = visit.headers
        ask, kind = asked(scope["query_string"], headers), headers.get("content-type", "")
        if ask.model is not None:
            service.residents.of(ask.model)  # before a body is read for nothing
        if is_image(kind) and is_long(headers.get("content-length")):
            foreseen(service, settled(service, visit, ask))
        body = await service.bodies.read(receive, headers)
        try:
            images = images_in(body, kind, ask, service.settings.limits)
            wanted = settled(service, visit, images.ask)
            with wanted.resident.used():
                if images.several:
                    await self._answer_several(wanted, images.contents, scope, receive, send)
                else:
                    await self._answer_one(wanted, images.contents[0], scope, receive, send)
        finally:
            service.bodies.let_go(len(body))

    async def _answer_one(
        self, wanted: Wanted, content: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        service = self._service
        try:
            waiting = await begun(service, wanted, content)
            async with Watched(scope, receive, [waiting]):
                if wanted.ask.stream:
                    await stream(service, wanted, waiting, send)
                    return
                done = await waiting.end()
        except (Problem, FailedError, ClientGoneError) as error:
            note_failure(service, wanted, error)
            raise
        body, times, late = finished(service, wanted, done)
        await respond(send, body.encode(), [*answer_headers(done.prediction.stage, late, times), JSON])
        service.way_back.took(max(0.0, time.monotonic() - waiting.told_at))

    async def _answer_several(
        self, wanted: Wanted, contents: list[bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Each image is a request of its own for the scheduler; one that fails leaves the others alone."""
        if wanted.ask.stream:
            raise bad_request('stages are streamed of one image: send it alone, as the body or as "image"')
        begun = [await self._begun(wanted, content) for content in contents]
        async with Watched(scope, receive, [one for one in begun if isinstance(one, Waiting)]):
            ended = await asyncio.gather(*[self._ended(wanted, one) for one in begun])
        problems = [one for one in ended if isinstance(one, Problem)]
        if len(problems) == len(ended):
            raise max(problems, key=lambda one: one.status)
        told = [
            one.body.decode() if isinstance(one, Problem) else finished(self._service, wanted, one)[0]
            for one in ended
        ]
        body = f'{{"answers":[{",".join(told)}],"request_id":"{wanted.visit.request_id}"}}'
        await respond(send, body.encode(), [JSON])

    async def _begun(self, wanted: Wanted, content: bytes) -> Waiting | Problem:
        try:
            return await begun(self._service, wanted, content)
        except Problem as problem:
            note_failure(self._service, wanted, problem)
            return problem

    async def _ended(self, wanted: Wanted, one: Waiting | Problem) -> Done | Problem:
        if isinstance(one, Problem):
            return one
        try:
            return await one.end()
        except Problem as problem:
            note_failure(self._service, wanted, problem)
            return problem
        except FailedError as error:
            note_failure(self._service, wanted, error)
            return Problem(500, "failed", "the model failed at this image")
