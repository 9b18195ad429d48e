"""Labelled image files that are decoded when they are needed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from anytimenet.core.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class ImageFiles:
    """Image files with their labels: what `ImageSet` is for images that do not fit into memory.

    Attributes:
        root: folder of the files.
        labels: int64 `(N, levels)`, fine level first.
        names: path of each file relative to `root`, with forward slashes.

    Raises:
        DataError: if a dtype, shape or length does not fit, or a name leaves the folder.

    >>> files = ImageFiles(Path("photos"), np.array([[0], [1]]), ("cat/1.jpg", "dog/1.jpg"))
    >>> len(files), files.subset([1]).names, files.path(0).as_posix()
    (2, ('dog/1.jpg',), 'photos/cat/1.jpg')
    """

    root: Path
    labels: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "names", tuple(self.names))
        if self.labels.ndim != 2 or self.labels.dtype != np.int64:
            raise DataError(f"labels must be int64 (N, levels), got {self.labels.dtype} {self.labels.shape}")
        if len(self.labels) != len(self.names):
            raise DataError(
                f"{len(self.labels)} labels and {len(self.names)} names: there must be as many of each"
            )
        for name in self.names:
            if not name or name.startswith("/") or (".." in name and ".." in PurePosixPath(name).parts):
                raise DataError(f"{name!r} is not a path inside {self.root}: give names relative to it")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        """How many files and where, in one line."""
        return f"ImageFiles({len(self)} files in {str(self.root)!r}, {self.labels.shape[1]} label level(s))"

    def path(self, index: int) -> Path:
        """Where the file at `index` lies."""
        return self.root / self.names[index]

    def subset(self, indices: np.ndarray | list[int]) -> ImageFiles:
        """The files at `indices`, in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        return ImageFiles(self.root, self.labels[indices], tuple(self.names[i] for i in indices))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names, labels and file sizes; the pixels are not read, and the root may be moved.

        Raises:
            DataError: if a file is not there.
        """
        digest = hashlib.sha256(f"files {self.labels.shape}".encode())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        digest.update("\0".join(self.names).encode(errors="surrogateescape"))
        digest.update(np.array([self._size(i) for i in range(len(self))], dtype="<i8").data)
        return digest.hexdigest()

    def _size(self, index: int) -> int:
        try:
            # A million files: pathlib would take most of the time.
            return os.stat(f"{self.root}/{self.names[index]}").st_size
        except OSError as error:
            raise DataError(f"{self.path(index)} cannot be read ({error.strerror})") from error
