"""Which backend runs a net where nobody names one: the native engine wherever it can."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from anytimenet.core.errors import StatisticsMissingError
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.native.library import MISSING, is_there
from anytimenet.runtime.backends.backend import Backend, Placement
from anytimenet.runtime.backends.known import make_backend

_log = logging.getLogger(__name__)
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


def preferred_backend(
    source: object,
    place: Placement,
    tables: Mapping[str, CostTable] | None = None,
    *,
    told: int = logging.INFO,
) -> Backend:
    """What runs a net by default: what it was measured with here, else the native engine, else PyTorch.

    The native engine runs what is on the CPU in float32 and all of whose operators it has, where it is part
    of the installation. Where it does not, for whatever reason, PyTorch runs the net and a line of the log
    says why; `backend.name` tells which one it is.

    Args:
        source: a bundle, or something else that has both backends.
        place: where it is to run.
        tables: what was measured; None where that is not asked.
        told: the level of that line.

    Raises:
        BackendError: if PyTorch cannot run it there either.
    """
    measured = measured_backend(tables or {}, place)
    reason = native_runs_at(place) if measured != EAGER else "it was measured with PyTorch alone"
    if reason is None:
        try:
            found = make_backend(source, NATIVE, place)
            found.prepare(
                *min(found.segments)
            )  # it refuses weights that are not finite, say, when it loads them
            return found
        except Exception as error:  # whatever keeps the engine from it does not keep PyTorch
            reason = str(error) or type(error).__name__
            if isinstance(error, StatisticsMissingError):  # PyTorch says so, too, where they are needed
                told = logging.INFO
    expected = (place.device, place.dtype) == ("cpu", "float32") and measured != EAGER
    if expected:  # elsewhere nobody expects the engine
        _log.log(told, "PyTorch runs this net, for the native engine cannot: %s", reason)
    return make_backend(source, EAGER, place)
