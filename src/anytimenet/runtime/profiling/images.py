"""How long an image takes from its file to pixels, and from pixels to the net's input."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from anytimenet.core import checks
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.latency import Latency
from anytimenet.runtime.profiling.timing import time_alone
from anytimenet.runtime.profiling.work import Work

_LARGER = 1.5
"""The shorter side of a made-up photo over what the net needs: photos are cut down, seldom enlarged."""


def time_images(
    preprocessing: Preprocessing,
    image: str | PathLike[str] | None = None,
    *,
    minutes: float = 0.05,
    repeats: int = 50,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Latency, Latency]:
    """Latency of decoding and of preprocessing one image.

    Decoding goes from a file, which the system holds in memory, to pixels of the net's size, resizing
    included; preprocessing from these to the numbers that the net reads.

    Args:
        preprocessing: of the net.
        image: a file that is typical of what will be asked; by default a made-up JPEG of 4 : 3 whose shorter
            side is 1.5 times what the net needs. What decoding takes depends on size and format above all.
        minutes: time for both.
        repeats: runs of each, fewer (at least 5) if the time ends.
        clock: seconds, for tests.

    Raises:
        DataError: if the image cannot be read.

    >>> preprocessing = Preprocessing(32, 32, 3, mean=(0.5,) * 3, std=(0.5,) * 3)
    >>> decode, preprocess = time_images(preprocessing, repeats=5)
    >>> decode.repeats, preprocess.repeats
    (5, 5)
    """
    checks.instance(preprocessing, Preprocessing, "preprocessing", "manifest.preprocessing")
    share = checks.number(minutes, "minutes", above=0) / 2
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photo.jpg" if image is None else checks.path(image, "image")
        if image is None:
            made_up_photo(preprocessing).save(file, quality=90)
        pixels = preprocessing.decode(file)[None]
        decode = Work(lambda _: preprocessing.decode(file))
        standardise = Work(lambda _: preprocessing.standardise(pixels))
        return (
            time_alone(decode, minutes=share, repeats=repeats, clock=clock),
            time_alone(standardise, minutes=share, repeats=repeats, clock=clock),
        )


def made_up_photo(preprocessing: Preprocessing) -> Image.Image:
    """A photo of nothing, smooth with some grain as photos are, larger than the net needs."""
    side = preprocessing.shorter_side or max(preprocessing.height, preprocessing.width)
    height = round(_LARGER * side)
    width = round(height * 4 / 3)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 11, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grained = np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(grained)
