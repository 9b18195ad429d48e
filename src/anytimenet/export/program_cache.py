"""Programs of the native engine that were made before, in the user's cache: tracing a net takes seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

from anytimenet.bundle.backends.packages import key_of
from anytimenet.core.files.cache_folder import cache_folder
from anytimenet.core.files.regular import read_regular
from anytimenet.core.files.writing import sha256, write_bytes
from anytimenet.nets.contract import AnytimeNet

_ROOMS = ("export", "layers", "nets")
"""Whose sources say what a program is of given weights."""
_KNOWN = ("torch", "anytimenet")
_LARGEST, _DIGEST = 2**27, 64
_log = logging.getLogger(__name__)


def kept_program(net: AnytimeNet, input_shape: tuple[int, ...], make: Callable[[], bytes]) -> bytes:
    """The program that `make` gives for a net, from the cache if this net with these weights has one there.

    A program is data, which the engine checks; a file that is damaged is made anew. Where the cache cannot be
    written, or code beside PyTorch's and this package's says what the net computes, it is made every time.
    """
    if net.origin is None or any(_root(type(module)) not in _KNOWN for module in net.modules()):
        return make()
    file = place_of(net, input_shape)
    try:
        data = read_regular(file, _LARGEST)
        if data[:_DIGEST] == sha256(data[_DIGEST:]).encode():
            return data[_DIGEST:]
    except OSError:
        pass  # it was not made yet
    program = make()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(file, sha256(program).encode() + program)
    except OSError as error:
        _log.info("the program of the native engine is not kept in %s (%s)", file, error.strerror or error)
    return program


def place_of(net: AnytimeNet, input_shape: tuple[int, ...]) -> Path:
    """Where the program of a net lies, if it was made."""
    key = key_of(net, _sources_digest(), tuple(input_shape), net.origin)
    return cache_folder() / "native" / f"{key}.bin"


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]


@cache
def _sources_digest() -> str:
    """Of the code that lowers nets, and of the nets: another version of either makes programs anew."""
    files = [
        file for room in _ROOMS for file in Path(str(resources.files("anytimenet") / room)).rglob("*.py")
    ]
    return sha256("".join(sha256(file.read_bytes()) for file in sorted(files)).encode())
