"""Arrays in one file of the user's cache, with a digest over all of it that is checked when it is read."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from anytimenet.core.files.regular import open_regular, parse_json
from anytimenet.core.files.writing import write_bytes

_FORMAT = 2
_CHUNK = 2**24  # bytes that are read and hashed at a time
_MOST_HEADER = 2**28
_DTYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype(np.uint8), "I64": np.dtype("<i8")}
_log = logging.getLogger(__name__)


def write_arrays(path: Path, key: str, about: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Stores uint8 and int64 arrays under `key`, with a text; a full or read-only disk only warns.

    The file is a safetensors file of another digest than usual: that of key, text, shapes and bytes.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header: dict[str, object] = {}
    end = 0
    for name, array in arrays.items():
        code = next(code for code, dtype in _DTYPES.items() if dtype == array.dtype)
        start, end = end, end + array.nbytes
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
    digest = _begun(key, about, {name: array.shape for name, array in arrays.items()})
    for array in arrays.values():
        digest.update(_bytes(array))
    metadata = {"format": str(_FORMAT), "key": key, "about": about, "digest": digest.hexdigest()}
    head = json.dumps({"__metadata__": metadata, **header}).encode()
    head += b" " * (-len(head) % 8)
    try:
        write_bytes(path, len(head).to_bytes(8, "little"), head, *map(_bytes, arrays.values()))
    except OSError as error:
        _log.warning(
            "the image cache %s cannot be written (%s); images are decoded again next time", path, error
        )


def read_arrays(path: Path, key: str) -> tuple[str, dict[str, np.ndarray]] | None:
    """The text and the arrays stored under `key`; None if absent, stale or damaged, which is warned of."""
    try:
        with open_regular(path) as file:
            return _read(file, path.stat().st_size, key)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        _log.warning("the image cache %s cannot be used (%s) and is built again", path, error)
        return None


def _read(file: BinaryIO, size: int, key: str) -> tuple[str, dict[str, np.ndarray]] | None:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, _MOST_HEADER):
        raise ValueError("it is truncated")
    header = parse_json(file.read(length))
    metadata = header.pop("__metadata__")
    if metadata["format"] != str(_FORMAT) or metadata["key"] != key:
        return None
    shapes, place = {}, 8 + length
    for name, entry in header.items():
        shapes[name] = tuple(entry["shape"])
        count = math.prod(shapes[name]) * _DTYPES[entry["dtype"]].itemsize
        if entry["data_offsets"] != [place - 8 - length, place - 8 - length + count] or count < 0:
            raise ValueError("its sizes are damaged")
        place += count
    if place != size:
        raise ValueError("it is truncated")
    digest = _begun(key, metadata["about"], shapes)
    arrays = {}
    for name, entry in header.items():
        arrays[name] = np.empty(shapes[name], _DTYPES[entry["dtype"]])
        content = _bytes(arrays[name])
        for start in range(0, len(content), _CHUNK):
            part = content[start : start + _CHUNK]
            if file.readinto(part) != len(part):  # type: ignore[attr-defined]
                raise ValueError("it is truncated")
            digest.update(part)
    if digest.hexdigest() != metadata["digest"]:
        raise ValueError("its content is damaged")
    return metadata["about"], arrays


def _begun(key: str, about: str, shapes: Mapping[str, tuple[int, ...]]) -> hashlib._Hash:
    described = [_FORMAT, key, about, {name: list(shape) for name, shape in shapes.items()}]
    return hashlib.sha256(json.dumps(described).encode())


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
