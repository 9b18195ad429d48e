"""What answers for a bundle: a backend and a predictor, kept while what they were made of is as it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from operator import is_not
from typing import Protocol

from anytimenet.bundle.changes import WeightsSeen
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.nets.contract import AnytimeNet
from anytimenet.runtime.backends.backend import Backend, Placement
from anytimenet.runtime.backends.preferred import measured_backend, preferred_backend
from anytimenet.runtime.model import PreparedModel
from anytimenet.runtime.predictor import Predictor


class Answered(Protocol):
    """What answers look at in a bundle, each time that one is asked for."""

    @property
    def net(self) -> AnytimeNet:
        """Whose weights are copied."""

    @property
    def manifest(self) -> Manifest:
        """Labels, accuracies and thresholds."""

    @property
    def cost_tables(self) -> Mapping[str, CostTable]:
        """What was measured."""


class Answering:
    """The backend and the predictor of one bundle, made when they are first asked for, then kept.

    They are made anew when the net has other weights, other hooks or another place, when other costs were
    measured, and the predictor also when the manifest is another one. Several threads may ask, while none of
    them trains. A copy of a bundle needs one of its own.

    Args:
        clock: seconds, for the predictor.

    >>> from anytimenet import Bundle, create_net
    >>> from anytimenet.core.images.preprocessing import Preprocessing
    >>> net, p = create_net("isresnext_tiny", 2, in_channels=1), Preprocessing(8, 8, 1, (0.5,), (0.5,))
    >>> bundle, answering = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=p), Answering()
    >>> before = answering.predictor(bundle)
    >>> answering.predictor(bundle) is before
    True
    >>> bundle.use_exits(None)  # another manifest, and the same weights
    >>> answering.predictor(bundle) is before, answering.backend(bundle) is before.model.backend
    (False, True)
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._backend: Backend | None = None
        self._backend_of: tuple[CostTable, ...] = ()
        self._weights: WeightsSeen | None = None
        self._predictor: tuple[tuple[object, ...], Predictor | None] = ((), None)
        self._lock = threading.Lock()

    def backend(self, bundle: Answered) -> Backend:
        """What runs the bundle's net on one thread, where the net lies; `Bundle.backend` says which it is."""
        with self._lock:
            tables = tuple(bundle.cost_tables.values())
            if self._weights is None or not self._weights.still():
                self._backend, self._weights = None, WeightsSeen(bundle.net)
            if self._backend is None or _others(tables, self._backend_of):
                self._backend, self._backend_of = _made(bundle, self._backend), tables
            return self._backend

    def predictor(self, bundle: Answered) -> Predictor:
        """What answers on that backend, with the labels, accuracies, thresholds and tables of now."""
        backend = self.backend(bundle)
        made_of = (bundle.manifest, backend, *bundle.cost_tables.values())
        before, predictor = self._predictor
        if predictor is None or _others(made_of, before):
            table = table_for(bundle.cost_tables, backend.name, backend.placement)
            predictor = Predictor(PreparedModel(bundle.manifest, backend), table=table, clock=self._clock)
            self._predictor = made_of, predictor
        return predictor


def _made(bundle: Answered, before: Backend | None) -> Backend:
    """The backend for what the net is now; `before` if it is the right one still."""
    place = Placement(str(next(bundle.net.parameters()).device))
    if before is not None and before.placement == place:
        measured = measured_backend(bundle.cost_tables, place)
        if measured in (before.name, None):
            return before
    return preferred_backend(bundle, place, bundle.cost_tables)


def _others(now: tuple[object, ...], before: tuple[object, ...]) -> bool:
    """Whether these are not the same objects."""
    return len(now) != len(before) or any(map(is_not, now, before))
