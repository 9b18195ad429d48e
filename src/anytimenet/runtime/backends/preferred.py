"""Which backend runs a net where nobody names one: the native engine, where it is there and was measured."""

from __future__ import annotations

from collections.abc import Mapping

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.native.library import MISSING, is_there
from anytimenet.runtime.backends.backend import Placement

NATIVE, EAGER = "native", "eager"


def native_runs_at(place: Placement) -> str | None:
    """Why the native engine runs nothing at that place; None if it may.

    >>> native_runs_at(Placement("cuda"))
    'it runs on cpu in float32, not on cuda in float32'
    """
    if (place.device, place.dtype) != ("cpu", "float32"):
        return f"it runs on cpu in float32, not on {place.device} in {place.dtype}"
    return None if is_there() else MISSING


def measured_backend(tables: Mapping[str, CostTable], place: Placement) -> str | None:
    """The backend that a net was measured with on this machine, the native engine before PyTorch; else None.

    A net that was profiled with PyTorch alone stays with it: its deadlines are known there.
    """
    for name in (NATIVE, EAGER):
        if (name == EAGER or native_runs_at(place) is None) and table_for(tables, name, place) is not None:
            return name
    return None
