"""The engine in the event loop, where the process has no other core for it.

On one core an engine thread and the loop only take turns, and every turn is a switch of threads with the
interpreter's lock in between. There the loop runs the segments itself, one between two looks at the sockets:
a third of a millisecond less for each request. Only of nets that are short and can be ended, for nothing is
read meanwhile.
"""

from __future__ import annotations

import asyncio
import threading

from anytimenet.serving.http.residents import Residents
from anytimenet.serving.model_server import ModelServer
from anytimenet.serving.overhead import cores_here

_LOOKED_S = 0.25


class Turns:
    """Decides for each model who runs its segments, and again when the process is put on other cores.

    Args:
        residents: the models.
    """

    def __init__(self, residents: Residents) -> None:
        self._residents = residents
        self._driven: dict[ModelServer, Turn] = {}

    async def watch(self) -> None:
        """Looks again and again; ends with its task."""
        while True:
            self.look()
            await asyncio.sleep(_LOOKED_S)

    def look(self) -> None:
        """Takes over, or gives back, whatever should be; in the event loop."""
        servers = [one.server for one in self._residents]
        alone = cores_here() <= 1
        for server in servers:
            if (alone and server.is_short and server.threads == 1) != (server in self._driven):
                if server in self._driven:
                    self._driven.pop(server).end()
                else:
                    self._driven[server] = Turn(server)
        for server in set(self._driven) - set(servers):  # one that was replaced ends its requests by itself
            self._driven.pop(server).end()


class Turn:
    """The steps of one server in the running loop.

    Args:
        server: whose.
    """

    def __init__(self, server: ModelServer) -> None:
        self._server, self._loop = server, asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._next: asyncio.Handle | None = None
        self._at_once = False
        server.drive(self._wake)

    def end(self) -> None:
        """Gives the server back to its threads."""
        if self._next is not None:
            self._next.cancel()
        self._server.drive(None)

    def _wake(self) -> None:
        if threading.get_ident() == self._thread:
            self._soon()
        else:
            self._loop.call_soon_threadsafe(self._soon)

    def _soon(self) -> None:
        if self._at_once:
            return
        if self._next is not None:
            self._next.cancel()
        self._at_once = True
        self._next = self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._next, self._at_once = None, False
        pause_s = self._server.step()
        if pause_s is None or self._next is not None:
            return
        if pause_s > 0:
            self._next = self._loop.call_later(pause_s, self._step)
        else:
            self._soon()
