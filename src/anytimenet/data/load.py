"""Data by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anytimenet.core.errors import DataError, suggest
from anytimenet.data.digits import load_digits
from anytimenet.data.folder import load_folder
from anytimenet.data.options import DataOptions
from anytimenet.data.splits import DataSplits


def load_data(name: str, options: DataOptions | None = None) -> DataSplits:
    """Training, validation and test images of `digits` or `folder:PATH`.

    Raises:
        DataError: for an unknown name, or data that cannot be used.

    >>> splits = load_data("digits")
    >>> len(splits.train), len(splits.val), len(splits.test), splits.num_classes
    (1132, 126, 539, (10,))
    """
    options = options or DataOptions()
    kind, colon, rest = name.partition(":")
    if kind == "digits" and not colon:
        return replace(load_digits(options), options=options)
    if kind == "folder":
        if not rest:
            raise DataError("folder: needs a path, for example folder:data/flowers")
        return replace(load_folder(Path(rest), options), options=options)
    if Path(name).is_dir():
        raise DataError(f"{name!r} is a folder of this machine; write folder:{name}")
    raise DataError(f"unknown data {name!r}: {suggest(name, ('digits', 'folder:PATH'))}")
