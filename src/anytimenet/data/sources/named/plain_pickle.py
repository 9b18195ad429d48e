"""Pickles of plain values and byte arrays, read without running anything that they name."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from anytimenet.core.errors import DataError

# What numpy calls its own array builder, in the releases that wrote such files and in today's.
_ARRAY_NAMES = {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}


def load_plain(data: bytes, where: str) -> Any:
    """The value in a pickle: plain values, or a uint8 array, or a dictionary of these.

    Byte texts of old pickles are read as latin-1.

    This is the one place of the project that reads pickles, for the published CIFAR files are some. None of
    the classes and functions that a pickle may name is ever called: the three that stand for an array are
    replaced by stand-ins that only remember numbers, and any other raises.

    Args:
        where: the file, for messages.

    Raises:
        DataError: if it holds anything else, or is damaged; the message names a class that is refused.

    >>> load_plain(pickle.dumps({"labels": [3, 8]}), "a file")
    {'labels': [3, 8]}
    """
    try:
        value = _Unpickler(data, where).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle makes the module raise nearly anything
        raise DataError(f"{where} is damaged ({error}); get it again") from error
    if isinstance(value, dict):
        return {
            key: _array(item.state, where) if isinstance(item, _Array) else item
            for key, item in value.items()
        }
    return _array(value.state, where) if isinstance(value, _Array) else value


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ARRAY_NAMES:
            return _Array
        if (module, name) == ("numpy", "dtype"):
            return _Dtype
        if (module, name) == ("numpy", "ndarray"):
            return "ndarray"
        raise DataError(
            f"{self._where} asks for {module}.{name}, which is refused: it may run code. "
            "The published files hold arrays and plain values only; get them again"
        )


# Both have `__setstate__`, so that a pickle cannot set attributes of the classes themselves either.
class _Dtype:
    """What stands for a dtype: its code."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: of no meaning for bytes."""


class _Array:
    """What stands for an array: the state that numpy would build it from."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def _array(state: Any, where: str) -> np.ndarray:
    try:
        _, shape, dtype, fortran, data = state
        if not isinstance(data, str | bytes):
            raise TypeError(f"{type(data).__name__} instead of bytes")
        raw = data.encode("latin1") if isinstance(data, str) else data
        if dtype.code not in ("u1", "|u1"):
            raise ValueError(f"an array of {dtype.code!r} instead of bytes")
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where} holds no array of bytes ({error}); get it again") from error
