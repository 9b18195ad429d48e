"""The cost table of a backend on this machine: whatever runs the segments, it is timed in the same way."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

import numpy as np

from anytimenet.core import checks
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.core.manifest.table_choice import file_name_of
from anytimenet.core.segments import SegmentSpec
from anytimenet.runtime.backends.backend import Backend, Output, State
from anytimenet.runtime.profiling.images import time_images
from anytimenet.runtime.profiling.timing import time_segments
from anytimenet.runtime.profiling.work import Work

_FOR_IMAGES = 0.05
"""The share of the time that decoding and preprocessing may take."""
_PACKAGES = {"eager": "torch", "compiled": "torch", "native": "anytimenet"}


@runtime_checkable
class _LetsGo(Protocol):
    """A backend that can drop what it has prepared."""

    def keep_only(self, segments: Iterable[tuple[int, int]]) -> None: ...


def profile_backend(
    backend: Backend,
    input_shape: Sequence[int],
    *,
    preprocessing: Preprocessing | None = None,
    image: str | PathLike[str] | None = None,
    specs: Sequence[SegmentSpec] = (),
    segments: Collection[tuple[int, int]] | None = None,
    batch_sizes: Sequence[int] = (1,),
    minutes: float = 1.0,
    warmup: int = 5,
    repeats: int = 50,
    machine: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> CostTable:
    """Measures the segments that a backend has, as far as `minutes` reach; see `time_segments`.

    The time of (0, k) begins with the standardised input in numpy's memory and ends with the logits there;
    that of (a, b) begins with the state at a where the backend keeps it.

    Args:
        backend: on its device, with its threads and number format.
        input_shape: (C, H, W) of one input.
        preprocessing: of the net, where decoding and preprocessing are to be measured.
        image: a typical file; see `time_images`.
        specs: of the segments: what states take that are not reached in time.
        segments: those to measure; by default all that the backend has.
        batch_sizes: batches to measure.
        minutes: time for everything; the first segment is measured in any case.
        warmup: runs of each segment before its measurement.
        repeats: runs measured.
        machine: stamp of the machine; by default this one's, by `backend_stamp`.
        clock: seconds, for tests.

    Raises:
        ValueError: if a number is out of range.
        BackendError: if a segment cannot be built here.
    """
    shape = checks.whole_numbers(input_shape, "input_shape", 1, checks.MOST_SIDE)
    minutes = checks.number(minutes, "minutes", above=0)
    decode = preprocess = None
    began = clock()
    if preprocessing is not None:
        decode, preprocess = time_images(preprocessing, image, minutes=_FOR_IMAGES * minutes, clock=clock)
    seen: dict[int, int] = {}
    entries = time_segments(
        backend_segments(backend, shape, seen),
        backend.num_stages,
        segments=backend.segments if segments is None else backend.segments & set(segments),
        batch_sizes=batch_sizes,
        minutes=max(minutes - (clock() - began) / 60, minutes / 2),
        warmup=warmup,
        repeats=repeats,
        clock=clock,
    )
    where = backend.placement
    return CostTable(
        device=file_name_of(where.device),
        machine=machine if machine is not None else backend_stamp(backend.name),
        dtype=where.dtype,
        threads=where.threads,
        input_shape=shape,
        entries=entries,
        backend=backend.name,
        state_bytes=_state_bytes(seen, specs, backend.num_stages),
        decode=decode,
        preprocess=preprocess,
    )


def backend_stamp(backend: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`machine_stamp`, with the version of the package that a backend of that name is built on.

    Args:
        backend: its name.
        extra: what the caller knows beside it, such as the accelerator.
    """
    package = _PACKAGES.get(backend, backend)
    try:
        versions = {package: importlib.metadata.version(package)}
    except (importlib.metadata.PackageNotFoundError, ValueError):
        versions = {}
    return machine_stamp({**versions, **(extra or {})})


def backend_segments(
    backend: Backend, input_shape: Sequence[int], seen: dict[int, int] | None = None
) -> Callable[[int, int, int], Work]:
    """A `prepare` for `time_segments`: segments of a backend, each run on a state of its own.

    Args:
        backend: what runs them.
        input_shape: of one input.
        seen: is filled with the bytes of one example's state at each stage that a run comes to.
    """
    reached = {} if seen is None else seen

    def finish(result: tuple[State, Output]) -> None:
        state, _ = result
        reached[state.stage] = state.nbytes // state.batch if state.stage < backend.num_stages else 0
        backend.release(state)

    def prepare(start: int, stop: int, batch: int) -> Work:
        backend.prepare(start, stop)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((batch, *input_shape), dtype=np.float32)
        if start == 0:
            return Work(lambda _: backend.run(0, stop, backend.begin(x)), done=finish)
        state = backend.begin(x)
        for begin, end in _path_to(start, backend.segments):
            state, _ = backend.run(begin, end, state)
        tensors = backend.save(state)
        backend.release(state)
        return Work(
            lambda given: backend.run(start, stop, given),
            ready=lambda: backend.restore(start, tensors),
            done=finish,
            close=lambda: _drop(backend, start, stop),
        )

    return prepare


def _drop(backend: Backend, start: int, stop: int) -> None:
    """Lets go of a segment that few plans use, where the backend can: all of a net together hold too much."""
    if isinstance(backend, _LetsGo) and start > 0 and stop > start + 1:
        backend.keep_only(set(backend.prepared) - {(start, stop)})


def _path_to(stage: int, segments: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """The path of fewest segments to a stage.

    Raises:
        ValueError: if no path leads there.
    """
    paths: dict[int, list[tuple[int, int]]] = {0: []}
    for end in range(1, stage + 1):
        ways = [[*paths[start], (start, end)] for start in paths if (start, end) in segments]
        if ways:
            paths[end] = min(ways, key=len)
    if stage not in paths:
        raise ValueError(f"no segments lead to stage {stage}: export (0, {stage}) or steps up to it")
    return paths[stage]


def _state_bytes(seen: Mapping[int, int], specs: Sequence[SegmentSpec], num_stages: int) -> tuple[int, ...]:
    """Of each stage: what was seen, else what the specification says; nothing unless all are known."""
    told = {spec.stop: spec.state_bytes for spec in specs} | {num_stages: 0} | dict(seen)
    stages = range(1, num_stages + 1)
    return tuple(told[stage] for stage in stages) if all(stage in told for stage in stages) else ()
