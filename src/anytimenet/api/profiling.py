"""Latency of a bundle on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.api.arguments import check_type
from anytimenet.bundle import Bundle
from anytimenet.core.cost_table import CostTable
from anytimenet.costs import profile_segments, torch_segments
from anytimenet.training import check_device


def profile(
    bundle: Bundle,
    *,
    minutes: float = 1.0,
    batch_sizes: Sequence[int] = (1,),
    threads: int = 1,
    dtype: str = "float32",
    device: str = "cpu",
) -> CostTable:
    """Measures the latency of a bundle's segments on this machine and adds the table to the bundle.

    Steps and the jumps from the input come first; what does not fit within `minutes` is estimated and
    marked so.
    """
    check_type(bundle, Bundle, "bundle", "load(PATH)")
    check_device(device)
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
