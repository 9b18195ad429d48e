"""Which of the cost tables of a net holds here: what is measured elsewhere or otherwise is no measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from anytimenet.core import checks
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.machine import machine_stamp, same_machine


class Place(Protocol):
    """Where and how segments run; `anytimenet.runtime.Placement` is one."""

    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def dtype(self) -> str: ...


def table_for(
    tables: Mapping[str, CostTable],
    backend: str,
    placement: Place,
    machine: Mapping[str, Any] | None = None,
) -> CostTable | None:
    """The table that was measured with this backend, on this device of this machine, in this way; else None.

    Args:
        tables: of a bundle or an exported folder.
        backend: "eager", "onnxruntime", ...
        placement: device, threads and number format.
        machine: the stamp of this machine, if the caller knows more of it than `machine_stamp` does, such as
            its accelerator.

    >>> from anytimenet.core.manifest.cost_table import CostTable, Latency
    >>> from anytimenet.runtime import Placement
    >>> entries = {(0, 1, 1): Latency(2.0, 3.0, 4.0, repeats=50)}
    >>> table = CostTable("cpu", machine_stamp(), "float32", 1, (3, 8, 8), entries, backend="openvino")
    >>> table_for({table.key: table}, "openvino", Placement()) is table
    True
    >>> table_for({table.key: table}, "openvino", Placement(threads=2)) is None
    True
    """
    checks.words(backend, "backend")
    wanted = (backend, file_name_of(placement.device), placement.threads, placement.dtype)
    here = machine_stamp() if machine is None else machine
    for table in tables.values():
        told = (table.backend, table.device, table.threads, table.dtype)
        if told == wanted and same_machine(table.machine, here):
            return table
    return None


def file_name_of(device: str) -> str:
    """A device by the name that its tables have: "cuda-1" for "cuda:1".

    >>> file_name_of("cuda:1")
    'cuda-1'
    """
    return device.replace(":", "-")
