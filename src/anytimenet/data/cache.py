"""Decoded images kept in one file, so that the next run need not decode them again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
import safetensors.numpy

from anytimenet.core.files import write_bytes
from anytimenet.data.decoding import Decoded
from anytimenet.data.options import DataOptions

_FORMAT = 1
_log = logging.getLogger(__name__)


def cache_folder(chosen: Path | None = None) -> Path:
    """`chosen`, else `$ANYTIMENET_CACHE`, else `anytimenet` in the user's cache folder."""
    if chosen is not None:
        return Path(chosen).expanduser()
    if own := os.environ.get("ANYTIMENET_CACHE"):
        return Path(own).expanduser()
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path("~/.cache").expanduser()) / "anytimenet"


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
    name = hashlib.sha256(os.fsencode(f"{place} {settings}")).hexdigest()[:24]
    path = cache_folder(options.cache_dir) / f"{kind}-{name}.safetensors"
    key = hashlib.sha256(json.dumps([PIL.__version__, content]).encode()).hexdigest()
    cached = read_cache(path, key)
    decoded = decode() if cached is None else cached
    decoded.check(skip_bad=options.skip_bad)
    if cached is None:
        write_cache(path, key, decoded)
    return decoded


def read_cache(path: Path, key: str) -> Decoded | None:
    """The images stored under `key`, mapped from the file; None if absent, stale or damaged."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("truncated")
            header = json.loads(file.read(length))
            about = header["__metadata__"]
            if about["format"] != str(_FORMAT) or about["key"] != key:
                return None
            images = _mapped(file, header["images"], 8 + length, np.uint8)
            good = _mapped(file, header["good"], 8 + length, np.int64)
        bad = tuple((name, reason) for name, reason in json.loads(about["bad"]))
        return Decoded(images, np.array(good), bad)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("the image cache %s cannot be used (%s) and is built again", path, error)
        return None


def write_cache(path: Path, key: str, decoded: Decoded) -> None:
    """Stores the images under `key` in place of what the file held; a full or read-only disk only warns."""
    about = {"format": str(_FORMAT), "key": key, "bad": json.dumps(decoded.bad)}
    tensors = {"images": decoded.images, "good": decoded.good}
    try:
        write_bytes(path, safetensors.numpy.save(tensors, metadata=about))
    except OSError as error:
        _log.warning(
            "the image cache %s cannot be written (%s); images are decoded again next time", path, error
        )


def _mapped(file: BinaryIO, entry: dict, start: int, dtype: type) -> np.ndarray:
    """An array over the file's bytes; what is written to it stays in memory."""
    offset, shape = start + entry["data_offsets"][0], tuple(entry["shape"])
    return np.memmap(file, dtype=dtype, mode="c", offset=offset, shape=shape).view(np.ndarray)
