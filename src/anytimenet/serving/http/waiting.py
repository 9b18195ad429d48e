"""A request in the scheduler, seen from the event loop: its updates, its end, its client that goes away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import numpy as np

from anytimenet.serving.asked import Prepare
from anytimenet.serving.http.bodies import ClientGoneError, Receive
from anytimenet.serving.http.door import Scope
from anytimenet.serving.http.leaving import LEAVING, Leaving
from anytimenet.serving.http.problems import Problem, closing, expired, overload
from anytimenet.serving.model_server import ModelServer, Ticket
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


class Waiting:
    """One image on its way.

    Args:
        server: that runs it.
        x: its standardised input, or what makes it.
        request: what is asked.

    Attributes:
        told_at: when the scheduler told the last update, on `time.monotonic`.

    Raises:
        Problem: 503 if it is refused at admission, 504 if its deadline is over.
    """

    def __init__(self, server: ModelServer, x: np.ndarray | Prepare, request: Request) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self.told_at = time.monotonic()
        self._told: deque[Update] = deque()
        self._more: asyncio.Future[None] | None = None
        notify = self._take_all if request.stream else self._take_last
        try:
            self._ticket: Ticket = server.submit(x, request, notify)
        except Overloaded as error:
            raise problem_of(error.reason, error.retry_after_s) from None

    def cancel(self) -> None:
        """Ends it at the next border of a segment; its updates end with a refusal."""
        self._ticket.cancel()

    async def end(self) -> Done:
        """The answer.

        Raises:
            Problem: if there is none.
        """
        return _done(await self._next())

    async def updates(self) -> AsyncIterator[StageDone | Done]:
        """Every stage, and the answer at last.

        Raises:
            Problem: if there is none.
        """
        while isinstance(update := await self._next(), StageDone):
            yield update
        yield _done(update)

    async def _next(self) -> Update:
        while not self._told:
            self._more = self._loop.create_future()
            await self._more
        return self._told.popleft()

    def _take_last(self, update: Update) -> None:
        if not isinstance(update, StageDone):
            self._take_all(update)

    def _take_all(self, update: Update) -> None:
        """Called in the thread that runs segments, which may be the loop's."""
        self.told_at = time.monotonic()
        if threading.get_ident() == self._thread:
            self._add(update)
            return
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who waits
            self._loop.call_soon_threadsafe(self._add, update)

    def _add(self, update: Update) -> None:
        self._told.append(update)
        if self._more is not None and not self._more.done():
            self._more.set_result(None)


class FailedError(Exception):
    """A model that failed; the cause is for the log."""


class Watched:
    """While it is entered, a client that goes away cancels what was sent in for it.

    A connection of ours tells it by the scope; of another server `receive` is awaited, in a task of its own.

    Args:
        scope: of a request.
        receive: of it, when its body has been read.
        waiting: what is cancelled.
    """

    def __init__(self, scope: Scope, receive: Receive, waiting: Sequence[Waiting]) -> None:
        self._leaving: Leaving | None = scope.get(LEAVING)
        self._receive, self._waiting = receive, waiting
        self._task: asyncio.Task[None] | None = None
        self.gone = False

    async def __aenter__(self) -> Watched:
        if self._leaving is not None:
            self._leaving.calls(self._cancel)
        else:
            self._task = asyncio.get_running_loop().create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._leaving is not None:
            self._leaving.calls(None)
        if self._task is not None:
            self._task.cancel()
        if self.gone:
            raise ClientGoneError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel()

    def _cancel(self) -> None:
        self.gone = True
        for one in self._waiting:
            one.cancel()


def _done(update: Update) -> Done:
    if isinstance(update, Done):
        return update
    if isinstance(update, Refused):
        raise problem_of(update.reason, update.retry_after_s)
    assert isinstance(update, Failed)
    error = update.error
    if isinstance(error, InvalidInputError):
        if isinstance(error.__cause__, Problem):
            raise error.__cause__
        raise FailedError from error.__cause__
    raise FailedError from error


def problem_of(reason: str, retry_after_s: float) -> Problem:
    """What the client of a refused request reads."""
    if reason == "overload":
        return overload(retry_after_s)
    if reason == "expired":
        return expired()
    if reason == "closing":
        return closing()
    return Problem(499, "cancelled", "the request was cancelled")
