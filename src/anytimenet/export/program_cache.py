"""Programs and segments that were made of a net before, in the user's cache: making them takes seconds.

Both say which operators run and where in the shards weights lie, and neither depends on their values: a net
that is trained on, or another one of the same kind, finds what was made for the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

import safetensors
import torch

from anytimenet.core.errors import BundleError
from anytimenet.core.files.cache_folder import cache_folder
from anytimenet.core.files.regular import read_regular
from anytimenet.core.files.writing import sha256, write_bytes
from anytimenet.core.manifest.segments import pack_segments, unpack_segments
from anytimenet.core.segments import SegmentSpec
from anytimenet.costs.rules import Rules
from anytimenet.export.structure import structure_of
from anytimenet.nets.contract import AnytimeNet

FORM = 2
"""Changes when what is kept is made in another way."""
_ROOMS = ("bundle", "costs", "export", "layers", "nets")
"""Whose sources say what a program and the segments are of given weights."""
Specs = tuple[SegmentSpec, ...]
_KNOWN = ("torch", "anytimenet")
_LARGEST, _DIGEST = 2**27, 64
_log = logging.getLogger(__name__)


def kept_program(net: AnytimeNet, input_shape: tuple[int, ...], make: Callable[[], bytes]) -> bytes:
    """The program that `make` gives for a net, from the cache if a net that is built like it has one there.

    A program is data, which the engine checks; a file that is damaged is made anew. Where the cache cannot be
    written, or code beside PyTorch's and this package's says what the net computes, it is made every time.
    """
    file = place_of(net, input_shape)
    if file is None:
        return make()
    kept = _read(file)
    if kept is not None:
        return kept
    _log.info("the net is made ready for the native engine; it is kept, so that this takes seconds once")
    program = make()
    _write(file, program)
    return program


def kept_segments(
    net: AnytimeNet, input_shape: tuple[int, ...], rules: Rules, make: Callable[[], Specs]
) -> Specs:
    """The segments that `make` gives for a net, from the cache as programs are; not where a rule is code."""
    if any(map(callable, rules.values())):
        return make()
    file = place_of(net, input_shape, sorted(rules.items()), ending="segments.json")
    if file is None:
        return make()
    kept = _read(file)
    if kept is not None:
        try:
            return unpack_segments(kept)
        except (BundleError, TypeError, ValueError):
            pass  # of another version
    specs = make()
    _write(file, pack_segments(specs)[1])
    return specs


def place_of(
    net: AnytimeNet, input_shape: tuple[int, ...], *facts: object, ending: str = "bin"
) -> Path | None:
    """Where the program of a net lies, if it was made; or what else is made of it and `facts`.

    None for a net that is more than what the sources of this package and of PyTorch say.
    """
    if not _is_known(net):
        return None
    versions = (FORM, torch.__version__, safetensors.__version__, _sources_digest())
    key = structure_of(net, *versions, tuple(input_shape), *facts)
    return None if key is None else cache_folder() / "native" / f"{key}.{ending}"


def _is_known(net: AnytimeNet) -> bool:
    """Whether the package's sources and PyTorch say all that the net computes."""
    return net.origin is not None and all(_root(type(module)) in _KNOWN for module in net.modules())


def _read(file: Path) -> bytes | None:
    try:
        data = read_regular(file, _LARGEST)
    except OSError:
        return None  # it was not made yet
    return data[_DIGEST:] if data[:_DIGEST] == sha256(data[_DIGEST:]).encode() else None


def _write(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(file, sha256(data).encode() + data)
    except OSError as error:
        _log.info("what was made for the native engine is not kept in %s (%s)", file, error.strerror or error)


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]


@cache
def _sources_digest() -> str:
    """Of the code that lowers nets, and of the nets: another version of either makes programs anew."""
    files = [
        file for room in _ROOMS for file in Path(str(resources.files("anytimenet") / room)).rglob("*.py")
    ]
    return sha256("".join(sha256(file.read_bytes()) for file in sorted(files)).encode())
