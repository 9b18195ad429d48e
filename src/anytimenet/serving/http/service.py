"""What all requests share: settings, models, metrics, limits, a clock, and threads that decode images."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from anytimenet.serving.http.bodies import Bodies
from anytimenet.serving.http.clients import ClientLimits
from anytimenet.serving.http.delays import WayBack
from anytimenet.serving.http.metrics import Metrics
from anytimenet.serving.http.origins import Origins
from anytimenet.serving.http.residents import Resident, Residents
from anytimenet.serving.http.settings import Settings

access = logging.getLogger("anytimenet.serving.access")
log = logging.getLogger("anytimenet.serving")

_DECODERS = 2


class Service:
    """The state of one server.

    Args:
        models: that are served.
        settings: of the operator.
        clock: seconds; that of the models' schedulers.

    Attributes:
        ready: whether `/readyz` says so.
        draining: whether the server is about to end.
        under_way: requests for predictions that are read or answered.
        way_back: how long answers take to their sockets.
    """

    def __init__(
        self,
        models: Sequence[Resident],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.clock = settings, clock
        self.residents = Residents(models)
        self.bodies = Bodies(settings.limits)
        self.clients = ClientLimits(settings.limits)
        self.origins = Origins(settings)
        self.metrics = Metrics(self.residents, self._gauges)
        self.decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="anytimenet-decoder")
        self.way_back = WayBack()
        self.began = clock()
        self.ready, self.draining, self.under_way = True, False, 0

    def arrived(self, since: float | None) -> float:
        """When a request came: now, or when the connection knew of it, if that is told on the same clock."""
        now = self.clock()
        return now if since is None or self.clock is not time.monotonic else min(now, since)

    def drain(self) -> None:
        """From now on `/readyz` says no, and connections end with their next answer."""
        self.ready, self.draining = False, True

    def close(self) -> None:
        """Ends the models, which answer what they have begun, and the threads."""
        self.drain()
        for resident in self.residents:
            resident.server.close(self.settings.drain_s)
        self.decoders.shutdown(wait=False, cancel_futures=True)

    def _gauges(self) -> dict[str, tuple[str, float]]:
        return {
            "requests_under_way": ("Requests that are read or answered.", float(self.under_way)),
            "buffered_bytes": ("Bytes of their bodies.", float(self.bodies.held_bytes)),
            "ready": ("Whether /readyz says yes.", float(self.ready)),
        }
