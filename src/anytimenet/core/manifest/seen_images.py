"""Which images a bundle was trained, chosen and tested on: a fingerprint of each, to know them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from anytimenet.core.errors import BundleError

SEEN_NAME = "images.safetensors"
"""The file of a bundle that holds them."""

Kind = Literal["pixels", "files"]
"""What a fingerprint is of: the pixels of a decoded image, or the bytes of a file that nobody decoded yet."""

_PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Fingerprints of the images of each part of a bundle's data.

    Names and folders do not count: an image that was renamed, moved or copied is still the same.

    Attributes:
        kind: what they are fingerprints of.
        train: uint64 `(N,)`, of the images that weights and statistics were learnt from.
        val: of those that chose the weights.
        test: of those that were set aside.

    >>> one, two, three = (np.array([i], np.uint64) for i in (1, 2, 3))
    >>> seen = SeenImages("pixels", one, two, three)
    >>> SeenImages.from_bytes(seen.to_bytes()).part("val").tolist()
    [2]
    """

    kind: Kind
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        for name in _PARTS:
            # Sorted: the order of the images is nobody's business, and equal sets are equal files.
            object.__setattr__(self, name, np.unique(getattr(self, name).astype(np.uint64)))

    def part(self, name: str) -> np.ndarray:
        """The fingerprints of "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def of(self, name: str, prints: np.ndarray) -> np.ndarray:
        """Which of `prints` are of images of that part: bool `(N,)`."""
        return np.isin(prints, self.part(name))

    def to_bytes(self) -> bytes:
        """The content of a safetensors file."""
        return save_tensors({name: self.part(name) for name in _PARTS}, metadata={"kind": self.kind})

    @classmethod
    def from_bytes(cls, data: bytes) -> SeenImages:
        """What `to_bytes` gave.

        Raises:
            BundleError: if it is something else.
        """
        try:
            found = load_tensors(data)
            kind = _kind_of(data)
            if set(found) != set(_PARTS) or any(a.dtype != np.uint64 or a.ndim != 1 for a in found.values()):
                raise ValueError("other tensors than one of fingerprints for each part")
        except (SafetensorError, ValueError, KeyError) as error:
            raise BundleError(f"{SEEN_NAME} does not hold fingerprints of images: {error}") from error
        return cls(kind, **found)

    def and_learnt_from(self, train: np.ndarray, val: np.ndarray) -> SeenImages:
        """These, and images that something was learnt from, and others that chose, since."""
        return SeenImages(
            self.kind,
            np.union1d(self.train, train),
            np.union1d(self.val, val),
            np.setdiff1d(self.test, train),
        )


def seen_by_any(members: Sequence[SeenImages | None]) -> SeenImages | None:
    """What several nets together have seen: each image counts for the part of most consequence it was in.

    None if nothing is known of a member, or they are fingerprints of different kinds.
    """
    known = [member for member in members if member is not None]
    if len(known) < len(members) or len({member.kind for member in known}) != 1:
        return None
    first = known[0]
    if all(np.array_equal(first.part(p), other.part(p)) for other in known[1:] for p in _PARTS):
        return first
    train, val, test = (np.unique(np.concatenate([member.part(p) for member in known])) for p in _PARTS)
    return SeenImages(first.kind, train, np.setdiff1d(val, train), np.setdiff1d(test, np.union1d(train, val)))


def _kind_of(data: bytes) -> Kind:
    import json

    length = int.from_bytes(data[:8], "little")
    kind: Kind = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get("kind")
    if kind not in ("pixels", "files"):
        raise ValueError(f"an unknown kind {kind!r}")
    return kind
