"""The cost tables of a bundle: one JSON file for each machine, device, backend, threads and number format.

They lie under `costs2/`. Bundles of before have one a device under `costs/`, which is read, too. Readers of
then take `costs2/` for files that somebody added to the bundle: they keep them and do not look into them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from anytimenet.core.errors import BundleError, CostTableError
from anytimenet.core.files.regular import parse_json
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import AGAIN, LARGEST_JSON, read_listed
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.warning import warn_caller

COSTS = "costs2/"
OLD_COSTS = "costs/"


def pack_table(table: CostTable) -> tuple[str, bytes]:
    """The name and content of a table's file.

    Raises:
        BundleError: if the machine's stamp holds something that JSON does not know.
    """
    try:
        text = json.dumps(table.to_json(), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(f"the cost table of {table.device} cannot be written as JSON: {error}") from error
    return f"{COSTS}{table.key}.json", (text + "\n").encode()


def parse_table(name: str, data: bytes) -> CostTable:
    """The table in the file `name`, whichever machine measured it.

    Raises:
        BundleError: if it is none.
    """
    try:
        return CostTable.from_json(parse_json(data))
    except (CostTableError, TypeError, OverflowError) as error:
        raise BundleError(f"{name}: {error}") from error
    except ValueError as error:
        raise BundleError(f"{name} is not JSON ({error}): {AGAIN}") from error


def is_table(name: str) -> bool:
    """Whether a file of a bundle is one of its cost tables, by its name."""
    return name.startswith((COSTS, OLD_COSTS))


def readable_tables(folder: Path, manifest: Manifest) -> dict[str, CostTable]:
    """The tables of the bundle by key; of two with one key that in the newer format.

    Raises:
        BundleError: if a file is not the one that was saved.
    """
    names = sorted(filter(is_table, manifest.files), key=lambda name: (name.startswith(COSTS), name))
    read = [_readable_table(folder, name, manifest) for name in names]
    return {table.key: table for table in read if table is not None}


def _readable_table(folder: Path, name: str, manifest: Manifest) -> CostTable | None:
    """The table in a file of the bundle; one that cannot be used is set aside with a warning.

    Latencies are measured again in minutes: for want of them no bundle is refused. A file that is damaged or
    missing is another matter, for then the bundle itself is not what was saved.

    Raises:
        BundleError: if the file is not the one that was saved.
    """
    record = manifest.files[name]
    if record.bytes > LARGEST_JSON:
        raise BundleError(f"{folder / name} is listed with {record.bytes} bytes: no cost table is so large")
    return usable_table(str(folder / name), read_listed(folder, name, record), manifest)


def usable_table(
    name: str,
    data: bytes,
    manifest: Manifest,
    cure: str = "Measure it again with profile(bundle)",
) -> CostTable | None:
    """The table in the file `name`; one that cannot be used is set aside with a warning, and None."""
    try:
        table = parse_table(name, data)
        check_table(table, manifest)
    except BundleError as error:
        about = str(error) if name in str(error) else f"{name}: {error}"
        warn_caller(f"a cost table is set aside: {about}. {cure}")
        return None
    return table


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
    if len(table.state_bytes) > manifest.num_stages:
        raise BundleError(
            f"{about} knows the states of {len(table.state_bytes)} stages and this net has "
            f"{manifest.num_stages}: profile the bundle again"
        )


def kept_tables(tables: Mapping[str, CostTable], stages: Sequence[int]) -> dict[str, CostTable]:
    """The measurements that still hold when only `stages` are kept, renumbered; empty tables are left out.

    The segment between two kept stages does the same work in the smaller net. A state may hold less there
    than the table says, as fewer segments read it; after the last stage it holds nothing.
    """
    number = {0: 0} | {stage: i for i, stage in enumerate(stages, 1)}
    kept = {}
    for key, table in tables.items():
        entries = {
            (number[start], number[stop], batch): latency
            for (start, stop, batch), latency in table.entries.items()
            if start in number and stop in number
        }
        if entries:
            kept[key] = replace(table, entries=entries, state_bytes=_kept_bytes(table.state_bytes, stages))
    return kept


def _kept_bytes(state_bytes: Sequence[int], stages: Sequence[int]) -> tuple[int, ...]:
    if not state_bytes or stages[-1] > len(state_bytes):
        return ()
    return (*(state_bytes[stage - 1] for stage in stages[:-1]), 0)
