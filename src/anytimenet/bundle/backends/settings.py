"""What PyTorch keeps for the whole process and one run needs otherwise: threads, and exact float32."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

EXACT = "ieee"
_EXACT_ALREADY = ("none", EXACT)


@contextmanager
def threads_of_operators(count: int) -> Iterator[None]:
    """Inside, operators of the calling thread run on `count` threads; afterwards on as many as before.

    PyTorch keeps this number for each thread that has run an operator. A thread that runs its first one while
    another is in here starts with `count`.
    """
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ExactFloat32:
    """Inside, products of float32 are computed in float32, whatever the process has asked for otherwise.

    oneDNN rounds them to bfloat16 on some processors, and cuDNN to 19 bits, where PyTorch allows it. That is
    a setting of the whole process: while any thread is inside, all of them compute exactly. That holds for
    one object; backends share that of `exact_float32`. Where the setting is exact already, it is only read.

    >>> exact = exact_float32("cpu")
    >>> with exact:
    ...     torch.backends.mkldnn.conv.fp32_precision in ("none", "ieee")
    True
    """

    def __init__(self, device_type: str) -> None:
        backends: Any = torch.backends
        self._settings = (
            (backends.cudnn.conv, backends.cuda.matmul)
            if device_type == "cuda"
            else (backends.mkldnn.conv, backends.mkldnn.matmul)
        )
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[str] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = [setting.fp32_precision for setting in self._settings]
                self._set([EXACT] * len(self._settings))
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._set(self._before)

    def _set(self, wanted: list[str]) -> None:
        for setting, now, value in zip(self._settings, self._before, wanted, strict=True):
            if now not in _EXACT_ALREADY:
                setting.fp32_precision = value


@cache
def exact_float32(device_type: str) -> ExactFloat32:
    """The one for devices of that type: of two, the first to be left would end it for the other, too."""
    return ExactFloat32(device_type)
