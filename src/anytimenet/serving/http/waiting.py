"""A request in the scheduler, seen from the event loop: its updates, its end, its client that goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import numpy as np

from anytimenet.serving.http.bodies import ClientGoneError, Receive
from anytimenet.serving.http.problems import Problem, closing, expired, overload
from anytimenet.serving.model_server import ModelServer, Ticket
from anytimenet.serving.request import Done, Failed, Overloaded, Refused, Request, StageDone, Update


class Waiting:
    """One image on its way.

    Args:
        server: that runs it.
        x: its standardised input.
        request: what is asked.

    Attributes:
        told_at: when the scheduler told the last update, on `time.monotonic`.

    Raises:
        Problem: 503 if it is refused at admission, 504 if its deadline is over.
    """

    def __init__(self, server: ModelServer, x: np.ndarray, request: Request) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = request.stream
        self.told_at = time.monotonic()
        self._updates: asyncio.Queue[Update] = asyncio.Queue()
        try:
            self._ticket: Ticket = server.submit(x, request, self._told)
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
        while True:
            update = await self._updates.get()
            if not isinstance(update, StageDone):
                return _done(update)

    async def updates(self) -> AsyncIterator[StageDone | Done]:
        """Every stage, and the answer at last.

        Raises:
            Problem: if there is none.
        """
        while True:
            update = await self._updates.get()
            if isinstance(update, StageDone):
                yield update
            else:
                yield _done(update)
                return

    def _told(self, update: Update) -> None:
        """Called in another thread."""
        self.told_at = time.monotonic()
        if isinstance(update, StageDone) and not self._stream:
            return
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who waits
            self._loop.call_soon_threadsafe(self._updates.put_nowait, update)


class FailedError(Exception):
    """A model that failed; the cause is for the log."""


class Watched:
    """While it is entered, a client that goes away cancels what was sent in for it.

    Args:
        receive: of a request whose body has been read.
        waiting: what is cancelled.
    """

    def __init__(self, receive: Receive, waiting: list[Waiting]) -> None:
        self._receive, self._waiting = receive, waiting
        self.gone = False

    async def __aenter__(self) -> Watched:
        self._task = asyncio.get_running_loop().create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        if self.gone:
            raise ClientGoneError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        for one in self._waiting:
            one.cancel()


def _done(update: Update) -> Done:
    if isinstance(update, Done):
        return update
    if isinstance(update, Refused):
        raise problem_of(update.reason, update.retry_after_s)
    assert isinstance(update, Failed)
    raise FailedError from update.error


def problem_of(reason: str, retry_after_s: float) -> Problem:
    """What the client of a refused request reads."""
    if reason == "overload":
        return overload(retry_after_s)
    if reason == "expired":
        return expired()
    if reason == "closing":
        return closing()
    return Problem(499, "cancelled", "the request was cancelled")
