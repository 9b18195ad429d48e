"""The server as a process: listens, loads models again on SIGHUP, and drains on SIGTERM before it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from anytimenet.core.errors import require
from anytimenet.serving.http.app import Application, create_app
from anytimenet.serving.http.delays import timed_loop
from anytimenet.serving.http.logs import event, log_to
from anytimenet.serving.http.protocol import protocol_with
from anytimenet.serving.http.service import log
from anytimenet.serving.http.settings import Settings
from anytimenet.serving.http.sources import Reloading, Source
from anytimenet.serving.http.turns import Turns

_SWITCH_S = 0.0005
_KEEP_ALIVE_S = 75
"""Longer than gateways keep idle connections, so that theirs ends first and no request meets a closed one."""


def serve(
    sources: Sequence[Source], settings: Settings, *, listening: Callable[[str], None] | None = None
) -> None:
    """Loads models, answers requests, and returns when the process was told to end.

    SIGTERM and SIGINT drain: `/readyz` says no for `lame_duck_s`, then nobody connects any more and requests
    under way end. A second signal ends at once. SIGHUP loads the models again.

    Logs go to standard error, a JSON object a line.

    Args:
        sources: the models.
        settings: of the operator.
        listening: called with the address once requests are taken.
    """
    require("uvicorn", "serve")
    log_to()
    residents = [source.resident() for source in sources]
    app = create_app(residents, settings)
    server = make_server(app, settings, sources, listening)
    # Engine threads come back from C for moments; they must not wait 5 ms for the loop to let them.
    sys.setswitchinterval(_SWITCH_S)
    # What is loaded stays: the collector need not look through it in the middle of a request.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=timed_loop) as runner:
        runner.run(server.serve())


def make_server(
    app: Application,
    settings: Settings,
    sources: Sequence[Source] = (),
    listening: Callable[[str], None] | None = None,
) -> Any:
    """A `uvicorn.Server` for an application that `create_app` made; `await server.serve()` runs it.

    Args:
        app: of `create_app`.
        settings: the same.
        sources: of its models, to be watched and loaded again.
        listening: called with the address once requests are taken.
    """
    uvicorn = require("uvicorn", "serve")
    service = app.service
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=protocol_with(settings.limits),
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        h11_max_incomplete_event_size=settings.limits.header_bytes,
    )

    class DrainingServer(uvicorn.Server):  # type: ignore[name-defined, misc]
        """Ends in two steps, so that balancers hear of it before anybody is refused."""

        address = ""  # until it listens

        async def serve(self, sockets: Any = None) -> None:
            self._loop = asyncio.get_running_loop()
            reloading = Reloading(service, sources)
            turns = Turns(service.residents)
            tasks = {self._loop.create_task(one) for one in (reloading.watch(), turns.watch())}

            def hang_up() -> None:
                task = self._loop.create_task(reloading.reload())
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
                self._loop.add_signal_handler(signal.SIGHUP, hang_up)
            try:
                await super().serve(sockets)
            finally:
                for task in tasks:
                    task.cancel()

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                host, port = self.servers[0].sockets[0].getsockname()[:2]
                self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
                event(log, logging.INFO, "listening", address=self.address)
                if listening is not None:
                    listening(self.address)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if service.draining:
                self.should_exit = True
                self.force_exit = sig == signal.SIGINT
                return
            self._loop.call_soon_threadsafe(self.drain)

        def drain(self) -> None:
            """Begins to end; in the event loop."""
            event(log, logging.INFO, "draining", under_way=service.under_way)
            service.drain()
            self._loop.call_later(settings.lame_duck_s, self._exit)

        def _exit(self) -> None:
            self.should_exit = True

    return DrainingServer(config)
