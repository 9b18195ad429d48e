"""Decoded images kept in one file, so that the next run need not decode them again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import PIL

from anytimenet.core.files.cache_folder import cache_folder as cache_folder
from anytimenet.data.reading.cache_file import read_arrays, write_arrays
from anytimenet.data.reading.decoding import Decoded
from anytimenet.data.sets.options import DataOptions


def decode_once(
    kind: str, place: str, content: object, options: DataOptions, decode: Callable[[], Decoded]
) -> Decoded:
    """What `decode` gives, from the cache where that has been done before.

    Args:
        kind: first word of the file's name.
        place: where the images come from: one file for each place and each setting.
        content: JSON values that change whenever the images do.

    Raises:
        DataError: if an image is bad and `options.skip_bad` does not allow for it.
    """
    settings = f"{options.image_size} {options.channels} {options.resample}"
    if options.shorter_side is not None:
        settings += f" {options.shorter_side}"
    path, key = cache_place(kind, place, settings, content, options)
    cached = read_cache(path, key)
    decoded = decode() if cached is None else cached
    decoded.check(skip_bad=options.skip_bad)
    if cached is None:
        write_cache(path, key, decoded)
    return decoded


def cache_place(
    kind: str, place: str, settings: str, content: object, options: DataOptions
) -> tuple[Path, str]:
    """The file of a place and its settings, and the key of what it must hold."""
    name = hashlib.sha256(os.fsencode(f"{place} {settings}")).hexdigest()[:24]
    path = cache_folder(options.cache_dir) / f"{kind}-{name}.safetensors"
    return path, hashlib.sha256(json.dumps([PIL.__version__, content]).encode()).hexdigest()


def read_cache(path: Path, key: str) -> Decoded | None:
    """The images stored under `key`; None if absent, stale or damaged."""
    found = read_arrays(path, key)
    if found is None:
        return None
    about, arrays = found
    bad = tuple((name, reason) for name, reason in json.loads(about))
    return Decoded(arrays["images"], arrays["good"], bad)


def write_cache(path: Path, key: str, decoded: Decoded) -> None:
    """Stores the images under `key` in place of what the file held; a full or read-only disk only warns."""
    arrays = {"images": decoded.images, "good": decoded.good}
    write_arrays(path, key, json.dumps(decoded.bad), arrays)
