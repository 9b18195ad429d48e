"""Bytes that autograd keeps for a backward: how large a graph is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def peak_saved_bytes(work: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    """The most bytes of activations that graphs held at one time while `work` ran.

    Storages are counted once, whoever saves them; those of `parameters` are no activations.
    """
    meter = _Meter({p.untyped_storage().data_ptr() for p in parameters})
    with torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda saved: saved.tensor):
        work()
    return meter.peak


class _Saved:
    """What a graph holds in place of a tensor; it is gone when the graph is."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Meter:
    def __init__(self, ignored: set[int]) -> None:
        self.ignored = ignored
        self.holders: dict[int, int] = {}
        self.now = 0
        self.peak = 0

    def pack(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor.detach())
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self.ignored:
            self._hold(place, size)
            weakref.finalize(saved, self._release, place, size)
        return saved

    def _hold(self, place: int, size: int) -> None:
        if self.holders.get(place, 0) == 0:
            self.now += size
            self.peak = max(self.peak, self.now)
        self.holders[place] = self.holders.get(place, 0) + 1

    def _release(self, place: int, size: int) -> None:
        self.holders[place] -= 1
        if self.holders[place] == 0:
            self.now -= size
