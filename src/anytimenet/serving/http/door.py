"""The door that every request comes through: when it came, who asks from where, and what is logged of it."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import nullcontext
from typing import Any

from anytimenet.serving.http.bodies import ClientGoneError, Receive
from anytimenet.serving.http.logs import event
from anytimenet.serving.http.problems import Problem, overload
from anytimenet.serving.http.service import Service, access, log

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

VISIT, ARRIVED = "anytimenet.visit", "anytimenet.arrived"


def _numbered() -> Iterator[str]:
    """Ids that no other process gives: drawn once, then counted, for the kernel's randomness is slow."""
    beginning = os.urandom(5).hex()
    return (f"{beginning}{number:06x}" for number in itertools.count())


_request_ids = _numbered()
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_UNCOUNTED = nullcontext()
_NO_TRACE = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})


class Visit:
    """What is known of a request beside its body.

    Attributes:
        arrived: when the server knew of it, in seconds of its clock.
        request_id: the client's own, or one that is made here.
        headers: by lower-case name; several of one name are joined with commas, so that none is overlooked.
        client: whose limits hold: the name of its key, or its address.
        told: what the log says of it beside path and status.
    """

    __slots__ = ("arrived", "client", "headers", "request_id", "told")

    def __init__(self, arrived: float, scope: Scope) -> None:
        self.arrived = arrived
        self.headers = _by_name(scope["headers"])
        given = self.headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else next(_request_ids)
        self.client = scope["client"][0] if scope.get("client") else ""
        self.told: dict[str, Any] = {}


def _by_name(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if len(found) < len(pairs):
        found.clear()
        for name, value in pairs:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
    return found


class Door:
    """The outermost of the application.

    Args:
        app: what is behind it.
        service: the state of the server.
    """

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service = self._service
        visit = scope[VISIT] = Visit(service.arrived(scope.get(ARRIVED)), scope)
        answer = _Answer(send, visit, service)
        error: BaseException | None = None
        try:
            answer.origin = service.origins.check(visit.headers, scope["method"])
            if scope["method"] == "OPTIONS" and answer.origin is not None:
                await _allow(answer)
            else:
                self._identify(scope, visit)
                await self._within_limits(scope, visit, receive, answer)
        except ClientGoneError:
            answer.status = 499
        except Problem as problem:
            await answer.problem(problem)
        except Exception as caught:  # a fault of ours: the log has it, and the client reads no more than that
            error = caught
            visit.told["error"] = repr(caught.__cause__ or caught)
            await answer.problem(Problem(500, "failed", "the server failed at this request"))
        finally:
            self._log(scope, visit, answer.status, error)

    def _identify(self, scope: Scope, visit: Visit) -> None:
        keys = self._service.settings.keys
        if keys is None or scope["path"] in _OPEN_PATHS or not scope["path"].startswith(("/v1", "/v2", "/m")):
            return
        given = visit.headers.get("x-api-key", "")
        kind, _, token = visit.headers.get("authorization", "").partition(" ")
        if not given and kind.lower() == "bearer":
            given = token.strip()
        client = keys.client_of(given) if given else None
        if client is None:
            raise Problem(
                401, "unauthorised", "a key is needed: authorization: Bearer KEY, or x-api-key: KEY"
            )
        visit.client = client
        visit.told["client"] = client

    async def _within_limits(self, scope: Scope, visit: Visit, receive: Receive, answer: _Answer) -> None:
        service = self._service
        if scope["method"] != "POST":
            await self._app(scope, receive, answer.send)
            return
        if service.under_way >= service.settings.limits.concurrent:
            raise overload(0.1)
        clients = service.clients
        with clients.taken(visit.client, visit.arrived) if clients.are_set else _UNCOUNTED:
            service.under_way += 1
            try:
                await self._app(scope, receive, answer.send)
            finally:
                service.under_way -= 1

    def _log(self, scope: Scope, visit: Visit, status: int, error: BaseException | None) -> None:
        service = self._service
        service.metrics.responded(status)
        fault = status >= 500 and status not in (503, 504)
        quiet = service.settings.log == "errors" or (scope["path"] in _NO_TRACE and status < 400)
        if quiet and not fault:
            return
        level = logging.ERROR if fault else logging.INFO
        event(
            access,
            level,
            "request",
            request_id=visit.request_id,
            method=scope["method"],
            path=scope["path"][:200],
            status=status,
            ms=round(1000 * (service.clock() - visit.arrived), 3),
            **visit.told,
        )
        if error is not None:
            log.error("a request failed", exc_info=error)


class _Answer:
    """Sends what the application answers, with the headers that every answer has."""

    def __init__(self, send: Send, visit: Visit, service: Service) -> None:
        self._send, self._visit, self._service = send, visit, service
        self.status = 0
        self.origin: str | None = None
        self._ended = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [
                *message.get("headers", ()),
                *_ALWAYS,
                (b"x-request-id", self._visit.request_id.encode()),
            ]
            if self.origin is not None:
                headers += [(b"access-control-allow-origin", self.origin.encode()), (b"vary", b"origin")]
            if self._service.draining:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        elif not message.get("more_body"):
            self._ended = True
        await self._send(message)

    async def problem(self, problem: Problem) -> None:
        """Answers with what went wrong; an answer that has begun is cut off: nobody takes it as whole."""
        if self.status:
            if not self._ended:
                raise ConnectionAbortedError("an answer that had begun could not be ended")
            return
        body = problem.body
        headers = [*problem.headers, (b"content-length", str(len(body)).encode())]
        if problem.status in (408, 413):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


async def _allow(answer: _Answer) -> None:
    """What a browser asks before a page of an allowed origin may send its request."""
    headers = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"authorization, content-type, x-api-key, x-request-deadline-ms"),
        (b"access-control-max-age", b"600"),
    ]
    await answer.send({"type": "http.response.start", "status": 204, "headers": headers})
    await answer.send({"type": "http.response.body", "body": b""})
