"""Many images as a person gives them: a list, a stack, a folder or a pattern; one by one, with their name."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anytimenet.core.checks import shown
from anytimenet.core.errors import DataError
from anytimenet.core.files.hidden_names import is_hidden
from anytimenet.core.images.formats import IMAGE_SUFFIXES, is_image_name

Source = str | int
"""What an image is called in answers: the path of its file, or its place in what was given, from 0."""


def image_sources(images: Any) -> Iterator[tuple[Source, Any]]:
    """Each image that `images` stands for, with its source, in order; nothing is read yet.

    Args:
        images: a folder, of which every image file is taken in the order of their paths, also of the folders
            within; a pattern such as "photos/*.jpg"; a path; a stack `(N, H, W, C)` or `(N, C, H, W)` as an
            array or a tensor; or any iterable of paths, PIL images, arrays and tensors. An item that is a
            path names one file.

    Raises:
        DataError: for a folder or pattern without images, a path that does not exist, or a single image.
        TypeError: for what holds no images.

    >>> [source for source, _ in image_sources(["cat.png", Path("dog.png"), np.zeros((8, 8), np.uint8)])]
    ['cat.png', 'dog.png', 2]
    """
    if isinstance(images, str | os.PathLike):
        return iter([(str(path), path) for path in image_paths(os.fspath(images))])
    if isinstance(images, Image.Image):
        raise DataError("this is a single image: give [image], or use predict")
    if isinstance(images, bytes | bytearray | memoryview | dict) or not isinstance(images, Iterable):
        raise TypeError(
            "images must be a list of images or paths, a stack of images, a folder or a pattern such as "
            f"'photos/*.jpg', not {shown(images)}"
        )
    return _named(_stack(images))


def names_many(text: str) -> bool:
    """Whether a path stands for the files that are found by it: a folder, or a pattern.

    >>> names_many("photos/*.jpg"), names_many("cat.png")
    (True, False)
    """
    path = Path(text).expanduser()
    return path.is_dir() or (glob.has_magic(text) and not path.exists())


def image_paths(text: str) -> list[str]:
    """The image files of a folder and the folders within it, of a pattern, or the one file of that name.

    Hidden names and folders and those of systems are left aside, and every folder is read once, however many
    links lead to it.

    Raises:
        DataError: if there are none.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        found = sorted(_walk(path))
        if not found:
            raise DataError(f"the folder {text} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        return found
    if not names_many(text):
        if not os.path.lexists(path):
            raise DataError(
                f"{text} does not exist: give an image, a folder or a pattern such as 'photos/*.jpg'"
            )
        return [str(path)]
    found = sorted(name for name in glob.glob(str(path), recursive=True) if not os.path.isdir(name))
    if not found:
        raise DataError(f"no file matches the pattern {text!r}")
    return found


def _walk(folder: Path) -> Iterator[str]:
    seen: set[str] = set()
    for parent, inner, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(parent)
        inner[:] = [] if real in seen else sorted(name for name in inner if not is_hidden(name))
        if real not in seen:
            yield from (os.path.join(parent, name) for name in names if is_image_name(name))
        seen.add(real)


def _unreadable(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be listed ({error.strerror})") from error


def _named(images: Iterable[Any]) -> Iterator[tuple[Source, Any]]:
    for place, image in enumerate(images):
        yield (os.fspath(image) if isinstance(image, str | os.PathLike) else place), image


def _stack(images: Iterable[Any]) -> Iterable[Any]:
    """`images`, a stack of them as the images that `predict` reads."""
    torch = sys.modules.get("torch")  # whoever made a tensor has imported it
    if torch is not None and isinstance(images, torch.Tensor):
        _check_stack(tuple(images.shape), channels=0)
        # Standardised input has four dimensions wherever it is read.
        return list(images.split(1)) if images.is_floating_point() and images.ndim == 4 else list(images)
    if not isinstance(images, np.ndarray) or images.dtype == object:
        return images
    _check_stack(images.shape, channels=2)
    if np.issubdtype(images.dtype, np.floating):
        return [image[None] for image in images]
    channels_first = images.ndim == 4 and images.shape[3] not in (1, 3, 4) and images.shape[1] in (1, 3, 4)
    return list(images.transpose(0, 2, 3, 1) if channels_first else images)


def _check_stack(shape: tuple[int, ...], channels: int) -> None:
    """`channels` is the axis on which a single image would have its channels."""
    if len(shape) not in (3, 4):
        raise DataError(
            f"a stack of images has shape (N, H, W), (N, H, W, C) or (N, C, H, W), not {shape}; "
            "give [image] for a single one"
        )
    if len(shape) == 3 and shape[channels] in (1, 3, 4):
        raise DataError(
            f"an array of shape {shape} looks like a single image: give [image], or a list of images"
        )
