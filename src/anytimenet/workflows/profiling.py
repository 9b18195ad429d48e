"""Latency of a bundle on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.bundle import Bundle
from anytimenet.core.checks import choice, instance, number, whole_number, whole_numbers
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.costs import Rules, profile_segments, torch_segments
from anytimenet.workflows.reading import settled_device


def profile(
    bundle: Bundle,
    *,
    minutes: float = 1.0,
    batch_sizes: Sequence[int] = (1,),
    threads: int = 1,
    dtype: str = "float32",
    device: str = "auto",
    rules: Rules | None = None,
) -> CostTable:
    """Measures the latency of a bundle's segments on this machine and adds the table to the bundle.

    Steps and the jumps from the input come first; what does not fit within `minutes` is estimated and
    marked so.

    Args:
        bundle: from `fit` or `load`.
        minutes: time for everything.
        batch_sizes: batches to measure.
        threads: threads that one run uses.
        dtype: number format that the segments run in.
        device: where they run; "auto" takes a CUDA device where there is one, as `fit` does.
        rules: what operators cost that the counter does not know, as in `fit`: the bundle's multiply-adds
            are counted anew with them.
    """
    instance(bundle, Bundle, "bundle", "load(PATH)")
    minutes = number(minutes, "minutes", above=0)
    batch_sizes = whole_numbers(batch_sizes, "batch_sizes", 1, 2**20)
    if not batch_sizes:
        raise ValueError("batch_sizes must hold one size or more, and is empty")
    threads = whole_number(threads, "threads", 1, 1024)
    choice(dtype, "dtype", ("float32", "float64", "bfloat16", "float16"))
    device = settled_device(device)
    if rules is not None:
        bundle.count_costs(rules)
    table = profile_segments(
        torch_segments(bundle.net, bundle.manifest.input_shape, dtype=dtype, device=device),
        bundle.num_stages,
        input_shape=bundle.manifest.input_shape,
        device=device,
        dtype=dtype,
        threads=threads,
        batch_sizes=batch_sizes,
        minutes=minutes,
    )
    bundle.add_cost_table(table)
    return table
