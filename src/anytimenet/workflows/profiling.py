"""Latency of a net on this machine, on the backend that its predictions are to run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from anytimenet.bundle import Bundle, load
from anytimenet.core import checks
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import find_bundle
from anytimenet.costs import Rules
from anytimenet.costs.latency import torch_stamp
from anytimenet.runtime import (
    ExportedNet,
    Placement,
    profile_backend,
    profile_exported,
)
from anytimenet.runtime.exported.record import EXPORT_NAME
from anytimenet.workflows.on_backend import on_backend, on_preferred, placed, prepared_beforehand


def profile(
    bundle: Bundle | ExportedNet | Path | str,
    *,
    backend: str | None = None,
    minutes: float = 1.0,
    batch_sizes: Sequence[int] = (1,),
    threads: int = 1,
    dtype: str = "float32",
    device: str = "auto",
    image: PathLike[str] | str | None = None,
    rules: Rules | None = None,
) -> CostTable:
    """Measures the latency of a net's segments on this machine and adds the table to what it knows.

    Steps and the jumps from the input come first; what does not fit within `minutes` is estimated and
    marked so. Decoding and preprocessing of an image are measured beside them. A net keeps one table for
    each machine, device, backend, number of threads and number format.

    Args:
        bundle: from `fit` or `load`, or an exported net; or the folder of one, which keeps the table.
        backend: what runs the segments: "native", "eager" PyTorch, "compiled", "onnxruntime", "openvino"; of
            an exported net by default what its files are for, of a bundle the native engine where that runs
            the net and is installed, and PyTorch otherwise, with a line in the log that says why. A bundle
            answers with what it was profiled with, the native engine first. It is
            exported to a temporary folder first where the backend runs files, and "compiled" compiles steps
            and (0, k), some ten seconds each unless they have been before; that is beside `minutes`.
        minutes: time for everything.
        batch_sizes: batches to measure.
        threads: threads that one run uses.
        dtype: number format that the segments run in.
        device: where they run; "auto" is where `bundle.predict` runs them: where the net lies, with PyTorch.
        image: a file that is typical of what will be asked, for the time of decoding; by default one is made
            up, of 4 : 3 and 1.5 times the size that the net needs.
        rules: what operators cost that the counter does not know, as in `fit`: the bundle's multiply-adds
            are counted anew with them.

    Raises:
        BackendError: if no backend of that name runs the net here.
        MissingExtraError: if what the backend is built on is not installed.
    """
    checks.instance(bundle, (Bundle, ExportedNet, Path, str), "bundle", "load(PATH)")
    minutes = checks.number(minutes, "minutes", above=0)
    batch_sizes = checks.whole_numbers(batch_sizes, "batch_sizes", 1, 2**20)
    if not batch_sizes:
        raise ValueError("batch_sizes must hold one size or more, and is empty")
    threads = checks.whole_number(threads, "threads", 1, 1024)
    checks.choice(dtype, "dtype", ("float32", "float64", "bfloat16", "float16"))
    image = checks.optional(image, "image", checks.path)
    name = checks.optional(backend, "backend", checks.words)
    spend = _Spend(batch_sizes, minutes, image)
    folder = _folder_of_export(bundle)
    if folder is not None:
        place = placed(name, device, threads, dtype)
        net = ExportedNet.load(folder, backend=name, placement=place)
        table = profile_exported(net, batch_sizes=batch_sizes, minutes=minutes, image=image)
        if isinstance(bundle, ExportedNet):
            bundle.cost_tables[table.key] = table
        return table
    if isinstance(bundle, Bundle):
        return _profile_bundle(bundle, name, placed(name, device, threads, dtype, bundle), spend, rules)
    path = checks.path(bundle, "bundle")
    loaded = load(path)
    table = _profile_bundle(loaded, name, placed(name, device, threads, dtype, loaded), spend, rules)
    loaded.save(find_bundle(path))
    return table


def _folder_of_export(net: Bundle | ExportedNet | Path | str) -> Path | None:
    """The folder of an exported net; None for a bundle, or its folder."""
    if isinstance(net, Bundle):
        return None
    folder = net.folder if isinstance(net, ExportedNet) else checks.path(net, "bundle")
    return folder if (folder / EXPORT_NAME).is_file() else None


@dataclass(frozen=True)
class _Spend:
    """What is measured beside the segments, and how long."""

    batch_sizes: tuple[int, ...]
    minutes: float
    image: Path | None


def _profile_bundle(
    bundle: Bundle, backend: str | None, place: Placement, spend: _Spend, rules: Rules | None
) -> CostTable:
    if rules is not None:
        bundle.count_costs(rules)
    model = on_preferred(bundle, place) if backend is None else on_backend(bundle, backend, place)
    runner = model.backend
    table = profile_backend(
        runner,
        bundle.manifest.input_shape,
        preprocessing=bundle.manifest.preprocessing,
        image=spend.image,
        specs=bundle.segment_specs(),
        segments=prepared_beforehand(runner),
        batch_sizes=spend.batch_sizes,
        minutes=spend.minutes,
        machine=torch_stamp(place.device, runner.name),
    )
    bundle.add_cost_table(table)
    return table
