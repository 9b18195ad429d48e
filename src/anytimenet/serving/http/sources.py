"""Where models come from: folders, loaded again when they were replaced, without dropping a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import MANIFEST_NAME
from anytimenet.runtime.exported.record import EXPORT_NAME
from anytimenet.runtime.model import Model
from anytimenet.serving.http.logs import event
from anytimenet.serving.http.pictures import warm_up_decoders
from anytimenet.serving.http.residents import Resident
from anytimenet.serving.http.service import Service, log
from anytimenet.serving.model_server import ModelServer

_STILL_USED_S = 600.0
_MOST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Source:
    """A model's folder and how it is loaded.

    Attributes:
        name: by which clients ask for the model.
        folder: of a bundle, of the run that made it, or of an exported net.
        load: reads the folder: the model, and its cost table here if it has one.
        policy: of its scheduler.
        threads: engine threads; None for the cores less one.
        queue_limit: requests that wait at most.
    """

    name: str
    folder: Path
    load: Callable[[Path], tuple[Model, CostTable | None]]
    policy: str = "anytime"
    threads: int | None = None
    queue_limit: int = 1024

    def resident(self) -> Resident:
        """The model, loaded, profiled if need be, and warm."""
        model, table = self.load(self.folder)
        warm_up_decoders(model.manifest.preprocessing)
        if table is None:
            event(log, logging.INFO, "profiling", model=self.name, because="no cost table of this machine")
        server = ModelServer(
            model, table=table, policy=self.policy, threads=self.threads, queue_limit=self.queue_limit
        )
        return Resident(self.name, model, server, source=self.folder)

    def stamp(self) -> tuple[int, int, int] | None:
        """Changes when the folder's manifest was written again; None where there is none at the moment."""
        for folder in (self.folder, self.folder / "bundle"):
            for name in (EXPORT_NAME, MANIFEST_NAME):
                try:
                    found = (folder / name).stat()
                except OSError:
                    continue
                return found.st_mtime_ns, found.st_ino, found.st_size
        return None


class Reloading:
    """Loads models again: when their folders were replaced, or when it is told to.

    The new model is loaded and warm before it takes the place of the old one, which ends its requests. Both
    are in memory meanwhile. What cannot be loaded is logged, and the old model stays.

    Args:
        service: whose models they are.
        sources: one a model.
    """

    def __init__(self, service: Service, sources: Sequence[Source]) -> None:
        self._service, self._sources = service, sources
        self._stamps = {source.name: source.stamp() for source in sources}
        self._one_at_a_time = asyncio.Lock()

    async def watch(self) -> None:
        """Looks at the folders again and again; ends with its task."""
        pause = every = self._service.settings.watch_s
        while every is not None and pause is not None:
            await asyncio.sleep(pause)
            worked = [await self._look(source) for source in self._sources]
            pause = every if all(worked) else min(2 * pause, max(every, _MOST_PAUSE_S))

    async def reload(self) -> None:
        """Loads every model again."""
        for source in self._sources:
            await self._load(source)

    async def _look(self, source: Source) -> bool:
        stamp = source.stamp()
        if stamp is None or stamp == self._stamps[source.name]:
            return True
        return await self._load(source)

    async def _load(self, source: Source) -> bool:
        service = self._service
        async with self._one_at_a_time:
            stamp = source.stamp()
            try:
                resident = await asyncio.to_thread(source.resident)
            except Exception as error:
                service.metrics.reloaded(source.name, "failed")
                event(log, logging.ERROR, "reload failed", model=source.name, error=str(error))
                return False
            self._stamps[source.name] = stamp
            if service.draining:
                await asyncio.to_thread(resident.server.close, 0.0)
                return True
            before = service.residents.replace(resident)
            service.metrics.reloaded(source.name, "loaded")
            event(log, logging.INFO, "reloaded", model=source.name)
        await self._end(before)
        return True

    async def _end(self, before: Resident) -> None:
        until = self._service.clock() + _STILL_USED_S
        while before.users and self._service.clock() < until:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(before.server.close, self._service.settings.drain_s)
