"""The cost table of an exported folder, measured on the device that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from os import PathLike

from anytimenet.core import checks
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.runtime.exported.tables import store_table
from anytimenet.runtime.profiling.backend import profile_backend


def profile_exported(
    net: ExportedNet,
    *,
    batch_sizes: Sequence[int] = (1,),
    minutes: float = 1.0,
    image: str | PathLike[str] | None = None,
    keep: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> CostTable:
    """Measures the exported segments on this machine, decoding and preprocessing, and keeps the table.

    Args:
        net: loaded with the backend and the placement that answers will run with.
        batch_sizes: batches to measure.
        minutes: time for everything.
        image: a file that is typical of what will be asked; by default one is made up.
        keep: put the table into the net's folder; else it is in `net.cost_tables` alone.
        clock: seconds, for tests.

    Raises:
        BackendError: if the segments cannot run here.
        BundleError: if the folder cannot be written.
    """
    checks.instance(net, ExportedNet, "net", "ExportedNet.load(FOLDER)")
    checks.flag(keep, "keep")
    table = profile_backend(
        net.backend,
        net.manifest.input_shape,
        preprocessing=net.manifest.preprocessing,
        image=image,
        specs=net.segment_specs,
        batch_sizes=batch_sizes,
        minutes=minutes,
        clock=clock,
    )
    if keep:
        store_table(net.folder, table)
    net.cost_tables[table.key] = table
    return table
