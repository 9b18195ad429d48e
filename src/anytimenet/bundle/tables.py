"""The cost tables of a bundle: one JSON file a device, under `costs/`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from anytimenet.core.bundle_folder import AGAIN
from anytimenet.core.cost_table import CostTable
from anytimenet.core.errors import BundleError, CostTableError
from anytimenet.core.manifest import Manifest

COSTS = "costs/"


def pack_table(table: CostTable) -> tuple[str, bytes]:
    """The name and content of a table's file.

    Raises:
        BundleError: if the machine's stamp holds something that JSON does not know.
    """
    try:
        text = json.dumps(table.to_json(), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(f"the cost table of {table.device} cannot be written as JSON: {error}") from error
    return f"{COSTS}{table.device}.json", (text + "\n").encode()


def parse_table(name: str, data: bytes) -> CostTable:
    """The table in the file `name`, whichever machine measured it.

    Raises:
        BundleError: if it is none.
    """
    try:
        return CostTable.from_json(json.loads(data))
    except CostTableError as error:
        raise BundleError(f"{name}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} is not JSON ({error}): {AGAIN}") from error


def check_table(table: CostTable, manifest: Manifest) -> None:
    """Raises BundleError unless the table can be one of this net."""
    about = f"the cost table of {table.device}"
    if tuple(table.input_shape) != manifest.input_shape:
        raise BundleError(
            f"{about} was measured on inputs of {tuple(table.input_shape)} and this net reads "
            f"{manifest.input_shape}: profile the bundle again"
        )
    if table.num_stages > manifest.num_stages:
        raise BundleError(
            f"{about} goes to stage {table.num_stages} and this net has {manifest.num_stages}: "
            "profile the bundle again"
        )


def kept_tables(tables: Mapping[str, CostTable], stages: Sequence[int]) -> dict[str, CostTable]:
    """The measurements that still hold when only `stages` are kept, renumbered; empty tables are left out.

    The segment between two kept stages does the same work in the smaller net.
    """
    number = {0: 0} | {stage: i for i, stage in enumerate(stages, 1)}
    kept = {}
    for device, table in tables.items():
        entries = {
            (number[start], number[stop], batch): latency
            for (start, stop, batch), latency in table.entries.items()
            if start in number and stop in number
        }
        if entries:
            kept[device] = replace(table, entries=entries)
    return kept
