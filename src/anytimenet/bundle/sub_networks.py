"""The sub-networks of a bundle's net, each built when it is first asked for."""

from __future__ import annotations

import threading

from anytimenet.bundle.changes import WeightsSeen
from anytimenet.core.errors import StatisticsMissingError
from anytimenet.nets.contract import AnytimeNet, Segment, Snapshot


class SubNetworks:
    """The sub-networks of a net, each built when it is first asked for, then kept; for several threads.

    They share the weights of one snapshot, taken when the first one is asked for, and anew when the net has
    other weights than then.
    """

    def __init__(self, net: AnytimeNet) -> None:
        self._net = net
        self._snapshot: Snapshot | None = None
        self._weights: WeightsSeen | None = None
        self._built: dict[int, Segment] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[SubNetworks], tuple[AnytimeNet]]:
        """Of a copy: the net alone, for it builds its sub-networks anew when it needs them."""
        return SubNetworks, (self._net,)

    def of(self, stage: int) -> Segment:
        """Sub-network `stage`, `(x,) -> Output`."""
        with self._lock:
            if self._weights is None or not self._weights.still():
                self._weights = WeightsSeen(self._net)
                self._built.clear()
            if self._snapshot is None or not self._built:
                self._snapshot = self._net.snapshot(next(self._net.parameters()).device)
            if stage not in self._built:
                try:
                    self._built[stage] = self._snapshot.segment(0, stage, last=True)
                except StatisticsMissingError:  # which may have been estimated since
                    self._built.clear()
                    self._snapshot = self._net.snapshot(next(self._net.parameters()).device)
                    self._built[stage] = self._snapshot.segment(0, stage, last=True)
            return self._built[stage]
