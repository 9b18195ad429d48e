"""Latency of a bundle on this machine, on the backend that predictions are to run on."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from anytimenet.bundle import Bundle
from anytimenet.core.checks import (
    choice,
    instance,
    number,
    optional,
    path,
    whole_number,
    whole_numbers,
    words,
)
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.costs import Rules
from anytimenet.costs.latency import torch_stamp
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.backends.known import make_backend
from anytimenet.runtime.profiling.backend import profile_backend
from anytimenet.workflows.reading import settled_device

_OF_TORCH = ("eager", "compiled")


def profile(
    bundle: Bundle,
    *,
    backend: str = "eager",
    minutes: float = 1.0,
    batch_sizes: Sequence[int] = (1,),
    threads: int = 1,
    dtype: str = "float32",
    device: str = "auto",
    image: PathLike[str] | str | None = None,
    rules: Rules | None = None,
) -> CostTable:
    """Measures the latency of a bundle's segments on this machine and adds the table to the bundle.

    Steps and the jumps from the input come first; what does not fit within `minutes` is estimated and
    marked so. Decoding and preprocessing of an image are measured beside them. The bundle keeps one table for
    each machine, device, backend, number of threads and number format.

    Args:
        bundle: from `fit` or `load`.
        backend: what runs the segments: "eager", or what else `runtime.backends_of(bundle)` names.
        minutes: time for everything.
        batch_sizes: batches to measure.
        threads: threads that one run uses.
        dtype: number format that the segments run in.
        device: where they run; "auto" takes a CUDA device where there is one and the backend is PyTorch's.
        image: a file that is typical of what will be asked, for the time of decoding; by default one is made
            up, of 4 : 3 and 1.5 times the size that the net needs.
        rules: what operators cost that the counter does not know, as in `fit`: the bundle's multiply-adds
            are counted anew with them.

    Raises:
        BackendError: if no backend of that name runs the bundle here.
        MissingExtraError: if what the backend is built on is not installed.
    """
    instance(bundle, Bundle, "bundle", "load(PATH)")
    minutes = number(minutes, "minutes", above=0)
    batch_sizes = whole_numbers(batch_sizes, "batch_sizes", 1, 2**20)
    if not batch_sizes:
        raise ValueError("batch_sizes must hold one size or more, and is empty")
    threads = whole_number(threads, "threads", 1, 1024)
    choice(dtype, "dtype", ("float32", "float64", "bfloat16", "float16"))
    image = optional(image, "image", path)
    backend = words(backend, "backend")
    place = Placement(_settled(device, backend), threads, dtype)
    if rules is not None:
        bundle.count_costs(rules)
    manifest = bundle.manifest
    table = profile_backend(
        make_backend(bundle, backend, place),
        manifest.input_shape,
        preprocessing=manifest.preprocessing,
        image=image,
        specs=bundle.segment_specs(),
        batch_sizes=batch_sizes,
        minutes=minutes,
        machine=torch_stamp(place.device, backend),
    )
    bundle.add_cost_table(table)
    return table


def _settled(device: object, backend: str) -> str:
    """The device by its name; only PyTorch's backends choose one themselves."""
    if backend in _OF_TORCH:
        return settled_device(device)
    return "cpu" if isinstance(device, str) and device == "auto" else words(device, "device")
