"""Loading exported folders for a server, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.runtime.model import Model

Load = Callable[[Path], tuple[Model, CostTable | None]]


def export_loader(backend: str | None = None) -> Load:
    """What loads an exported net, for a `Source`.

    Args:
        backend: which runs it; by default the one of its files.
    """

    def load(folder: Path) -> tuple[Model, CostTable | None]:
        net = ExportedNet.load(folder, backend=backend, placement=Placement())
        return net, table_for(net.cost_tables, net.backend.name, net.backend.placement)

    return load
