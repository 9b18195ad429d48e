"""Bundles that try to make the machine of whoever receives them do something else than predict."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from anytimenet import create_net
from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing

SHARD = "model-00001-of-00003.safetensors"


def true_bundle(folder: Path) -> Path:
    """A small whole bundle, which every other one here is made from."""
    preprocessing = Preprocessing(8, 8, 1, mean=(0.5,), std=(0.25,))
    net = create_net("isresnext_tiny", num_classes=2, in_channels=1)
    return Bundle.create(net, class_names=(("a", "b"),), preprocessing=preprocessing).save(folder)


def reads_and_writes_elsewhere(folder: Path) -> None:
    """Its provenance names folders of the receiver to read, to write into and to download to."""
    planted = str(folder.with_name("planted"))
    options = {"data_root": planted, "cache_dir": planted, "download": True, "taxonomy": "/etc/passwd"}
    _edit(folder, lambda told: told["provenance"].update(data={"name": "folder:/etc", "options": options}))


def fetches(folder: Path) -> None:
    """Its provenance names a data set that is fetched, into a folder that it chooses."""
    options = {"data_root": str(folder.with_name("planted")), "download": True}
    _edit(folder, lambda told: told["provenance"].update(data={"name": "mnist", "options": options}))


def endless_net(folder: Path) -> None:
    """Its net is wider than anything that could be built."""
    _edit(folder, lambda told: told["net"]["arguments"].update(width=10**30))


def foreign_code(folder: Path) -> None:
    """Its net is called like a function of Python."""
    _edit(folder, lambda told: told["net"].update(name="os.system", arguments={"command": "touch planted"}))


def deep(folder: Path) -> None:
    """Its bundle.json is a hundred thousand lists in each other."""
    (folder / "bundle.json").write_text("[" * 100_000)


def climbs_out(folder: Path) -> None:
    """It lists a file outside of its folder."""
    _edit(folder, lambda told: told["files"].update({"../../etc/passwd": told["files"][SHARD]}))


def edited(folder: Path) -> None:
    """A class has another name, and nothing was made to fit."""
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace('"a"', '"c"'))


def exchanged_weights(folder: Path) -> None:
    """One byte of its weights differs from what bundle.json says."""
    content = bytearray((folder / SHARD).read_bytes())
    content[-1] ^= 1
    (folder / SHARD).write_bytes(content)


def other_numbers(folder: Path) -> None:
    """Its weights are in another number format than the net's, with digests made to fit."""
    tensors = safetensors.numpy.load((folder / SHARD).read_bytes())
    content = safetensors.numpy.save({name: array.astype(np.int64) for name, array in tensors.items()})
    _replace(folder, SHARD, content)


def endless_header(folder: Path) -> None:
    """Its weights say that their header has a million million bytes, with digests made to fit."""
    _replace(folder, SHARD, struct.pack("<Q", 10**12) + b"{}")


def pickled_weights(folder: Path) -> None:
    """Its weights are a pickle, which runs a program where it is loaded, with digests made to fit."""

    class Planted:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return Path.touch, (folder.with_name("planted"),)  # type: ignore[return-value]

    _replace(folder, SHARD, pickle.dumps(Planted()))


def large_input(folder: Path) -> None:
    """It wants images of 100,000 by 100,000 pixels."""

    def change(told: dict[str, Any]) -> None:
        told["preprocessing"].update(height=100_000, width=100_000)
        told["input_shape"] = [1, 100_000, 100_000]

    _edit(folder, change)


BUNDLES = {
    function.__name__: function
    for function in (
        reads_and_writes_elsewhere,
        fetches,
        endless_net,
        foreign_code,
        deep,
        climbs_out,
        edited,
        exchanged_weights,
        other_numbers,
        endless_header,
        pickled_weights,
        large_input,
    )
}
"""Each turns a whole bundle into a hostile one; what it tries is the text of the function."""


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes bundle.json, and makes its digest fit: a digest tells of damage, not of who wrote it."""
    told = json.loads((folder / "bundle.json").read_text())
    change(told)
    del told["digest"]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    told["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(told))


def _replace(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    _edit(folder, lambda told: told["files"].update({name: record}))
