"""Cost tables of an exported folder: measured on the device that the folder has come to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anytimenet.core.errors import BundleError
from anytimenet.core.files.writing import write_bytes
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import record_of
from anytimenet.core.manifest.tables import check_table, pack_table
from anytimenet.runtime.exported.record import ExportRecord


def store_table(folder: Path, table: CostTable) -> None:
    """Puts a table into the folder, in place of one with the same key; segments and weights stay as they are.

    Raises:
        BundleError: if the table is of another net, or the folder cannot be written.
    """
    record = ExportRecord.read(folder)
    check_table(table, record.net)
    name, data = pack_table(table)
    try:
        others = {other: known for other, known in record.files.items() if other != name}
        if name in record.files:  # else a crash between the next two lines would leave a damaged folder
            replace(record, files=others).write(folder)
        write_bytes(folder / name, data)
        replace(record, files={**others, name: record_of(data)}).write(folder)
    except OSError as error:
        raise BundleError(
            f"the cost table cannot be kept in {folder} ({error.strerror or error}): make the folder "
            "writable, or copy it"
        ) from error
