"""How many JPEG files a second the stream loader decodes, crops at random and resizes to 224.

Method: generated photographs (smooth colours with some noise, quality 90), 4:2:0; whole epochs through
`StreamLoader`, standardised to float32 channels_last, repeated, of which the median and the best are kept. An
epoch of worker processes starts them, as in training. `reduced` says whether JPEG files may be decoded at a
half, a quarter or an eighth of their size where two pixels are left for each pixel of the result; a file of
500x375 never is. Rows of torchvision are left out where it cannot be imported.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import ImageFiles, LargeImageAugmentation, StreamLoader
from anytimenet.data.augment.resizing import Backend

NAME = "data-stream"
COUNT = 256
LARGE = 48
BATCH = 32
PREPROCESSING = Preprocessing(224, 224, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), shorter_side=256)


def measure(rounds: int) -> dict[str, Any]:
    """The numbers of `run.py`; an epoch a round."""
    with tempfile.TemporaryDirectory() as folder:
        small = generated(Path(folder) / "small", COUNT, 500, 375)
        large = generated(Path(folder) / "large", LARGE, 2000, 1500)
        rows = [
            row("500x375", small, crop(backend, **colours), workers, rounds, backend=backend, colours=told)
            for backend in backends()
            for told, colours in (("no", {}), ("jitter, lighting", {"colour_jitter": 0.4, "lighting": 0.1}))
            for workers in (0, 1, 2)
            if not colours or workers == 0
        ]
        rows += [row("500x375", small, None, workers, rounds, backend="evaluation") for workers in (0, 2)]
        rows += [
            row("2000x1500", large, crop("pillow"), 0, rounds, backend="pillow", reduced=reduced)
            for reduced in (True, False)
        ]
    return {"unit": "images per second", "rows": rows}


def backends() -> tuple[Backend, ...]:
    return ("pillow",) if crop("auto").settled().backend == "pillow" else ("pillow", "torchvision")


def crop(backend: Backend, **colours: float) -> LargeImageAugmentation:
    return LargeImageAugmentation(backend=backend, **colours)


def generated(folder: Path, count: int, width: int, height: int) -> ImageFiles:
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = tuple(f"{i}.jpg" for i in range(count))
    for name in names:
        smooth = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((width, height))
        noise = rng.integers(-12, 13, (height, width, 1))
        pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name, quality=90)
    return ImageFiles(folder, np.zeros((count, 1), np.int64), names)


def row(
    size: str,
    files: ImageFiles,
    transform: LargeImageAugmentation | None,
    workers: int,
    rounds: int,
    *,
    reduced: bool = True,
    **told: str,
) -> dict[str, Any]:
    loader = StreamLoader(
        files, PREPROCESSING, batch_size=BATCH, transform=transform, shuffle=True, workers=workers
    )
    speeds = []
    with nullcontext() if reduced else _no_draft():
        for epoch in range(rounds):
            start = time.perf_counter()
            for _ in loader.epoch(epoch):
                pass
            speeds.append(len(files) / (time.perf_counter() - start))
    return {
        "size": size,
        **told,
        "workers": workers,
        "reduced": "yes" if reduced else "no",
        "median": round(statistics.median(speeds)),
        "best": round(max(speeds)),
    }


def _no_draft() -> AbstractContextManager[Any]:
    return mock.patch("PIL.JpegImagePlugin.JpegImageFile.draft", return_value=None)
