"""Latency of segments that PyTorch runs: `runtime.profiling` with PyTorch's threads and stamp."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from anytimenet.core import checks
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.table_choice import file_name_of
from anytimenet.runtime.profiling.backend import backend_stamp
from anytimenet.runtime.profiling.timing import time_segments
from anytimenet.runtime.profiling.work import Prepare as Prepare


def profile_segments(
    prepare: Prepare,
    num_stages: int,
    *,
    input_shape: Sequence[int],
    device: str = "cpu",
    dtype: str = "float32",
    threads: int = 1,
    batch_sizes: Sequence[int] = (1,),
    minutes: float = 1.0,
    warmup: int = 5,
    repeats: int = 50,
    machine: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> CostTable:
    """Latency of every segment (a, b), 0 <= a < b <= K, measured as far as `minutes` reach.

    `runtime.profiling.timing.time_segments` says in which order, and what is estimated. A bundle is measured
    by `anytimenet.profile`, which times the backend that its predictions run on.

    Args:
        prepare: builds what is timed; `torch_segments` makes one for a net.
        num_stages: K.
        input_shape: (C, H, W); recorded.
        device: recorded.
        dtype: recorded.
        threads: recorded, and PyTorch's number of threads until the end of the measurement; another
            backend sets its own in `prepare`.
        batch_sizes: batches to measure.
        minutes: time for everything; (0, K) is measured in any case.
        warmup: runs before the measurement.
        repeats: runs measured, fewer (at least 5) if the time ends among them.
        machine: stamp of the machine; by default this one's, with PyTorch's version and accelerator.
        clock: seconds, for tests.

    Raises:
        ValueError: if a number is out of range.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.costs import torch_segments
    >>> net = create_net("isresnext_tiny")
    >>> prepare = torch_segments(net, (3, 8, 8))
    >>> table = profile_segments(prepare, net.num_stages, input_shape=(3, 8, 8), minutes=0.1, repeats=5)
    >>> table.latency(0, 1).repeats, len(table.entries)
    (5, 6)
    """
    threads = checks.whole_number(threads, "threads", 1)
    with torch_threads(threads):
        entries = time_segments(
            prepare,
            num_stages,
            batch_sizes=batch_sizes,
            minutes=minutes,
            warmup=warmup,
            repeats=repeats,
            clock=clock,
        )
    return CostTable(
        device=file_name_of(device),
        machine=machine if machine is not None else torch_stamp(device),
        dtype=dtype,
        threads=threads,
        input_shape=tuple(input_shape),
        entries=entries,
    )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Inside, PyTorch runs an operator on `threads` threads; afterwards on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_stamp(device: str, backend: str = "eager") -> dict[str, Any]:
    """The stamp of this machine with what cannot be known without PyTorch: which accelerator it has.

    Args:
        device: where segments run.
        backend: what runs them.
    """
    extra = {}
    if device.startswith("cuda") and torch.cuda.is_available():
        extra["accelerator"] = torch.cuda.get_device_name(device)
    return backend_stamp(backend, extra)
