"""A request for a prediction once its parameters are settled: model, deadline, input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anytimenet.serving.asked import Prepare
from anytimenet.serving.http.asking import Ask
from anytimenet.serving.http.delays import WayBack
from anytimenet.serving.http.door import Visit
from anytimenet.serving.http.pictures import is_small, net_input, prepared_late
from anytimenet.serving.http.problems import bad_request, expired
from anytimenet.serving.http.residents import Resident
from anytimenet.serving.http.service import Service
from anytimenet.serving.http.waiting import Waiting, problem_of
from anytimenet.serving.request import Overloaded, Request

_AT_ONCE_BYTES = 2**16


@dataclass(frozen=True)
class Wanted:
    """A request whose parameters are settled.

    Attributes:
        visit: when it came, and its name.
        ask: its parameters.
        resident: the model that answers.
        deadline: in seconds of the server's clock; None for none.
    """

    visit: Visit
    ask: Ask
    resident: Resident
    deadline: float | None

    def request(self, way_back: WayBack) -> Request:
        """As the scheduler reads it, for whom the deadline is so much earlier as answers take from it."""
        ask, deadline = self.ask, self.deadline
        if deadline is not None:
            deadline -= way_back.reserve_s(deadline - self.visit.arrived)
        return Request(
            arrived=self.visit.arrived,
            deadline=deadline,
            min_stage=ask.min_stage,
            min_accuracy=ask.min_accuracy,
            priority=ask.priority,
            stream=ask.stream,
        )


def settled(service: Service, visit: Visit, ask: Ask) -> Wanted:
    """The model and the deadline of a request.

    Raises:
        Problem: 404 for an unknown model, 400 for a stage or an accuracy that it does not have.
    """
    resident = service.residents.of(ask.model)
    if ask.min_stage > resident.stages:
        raise bad_request(f"min_stage must be from 1 to {resident.stages}, not {ask.min_stage}")
    if ask.min_accuracy is not None and ask.min_accuracy > resident.best_accuracy:
        raise bad_request(
            f"min_accuracy must be {resident.best_accuracy:.4g} at most: no stage is more accurate"
        )
    ms = service.settings.deadline_ms if ask.deadline_ms is None else ask.deadline_ms
    return Wanted(visit, ask, resident, None if ms is None else visit.arrived + ms / 1000)


def is_long(length: str | None) -> bool:
    """Whether a body of that announced length is likely to come in pieces, so that it is not here yet."""
    return length is None or not length.isdigit() or int(length) > _AT_ONCE_BYTES


def foreseen(service: Service, wanted: Wanted) -> None:
    """Refuses what would be refused now, before its body is read or its image is decoded.

    Raises:
        Problem: 504 for a deadline that is over, 503 for a server that is full.
    """
    if wanted.deadline is not None and service.clock() >= wanted.deadline:
        raise expired()
    try:
        wanted.resident.server.check(wanted.request(service.way_back))
    except Overloaded as error:
        raise problem_of(error.reason, error.retry_after_s) from None


async def begun(service: Service, wanted: Wanted, content: bytes) -> Waiting:
    """An image on its way: a small one is decoded when its turn has come, and not if it has none.

    Raises:
        Problem: 504 for a deadline that is over, 503 if it is refused, 400 or 413 for what cannot be read.
    """
    server, look = wanted.resident.server, wanted.resident.manifest.preprocessing
    limits = service.settings.limits
    x: np.ndarray | Prepare
    if is_small(content):
        x = lambda: prepared_late(content, look, limits)  # noqa: E731
    else:
        x = await decoded(service, wanted, content)
    return Waiting(server, x, wanted.request(service.way_back))


async def decoded(service: Service, wanted: Wanted, content: bytes) -> np.ndarray:
    """The input of an image, unless its deadline is over already.

    Raises:
        Problem: 504 for a deadline that is over, 400 or 413 for what cannot be read.
    """

    def check_time() -> None:
        if wanted.deadline is not None and service.clock() >= wanted.deadline:
            raise expired()

    foreseen(service, wanted)
    preprocessing = wanted.resident.manifest.preprocessing
    return await net_input(content, preprocessing, service.settings.limits, service.decoders, check_time)
