"""How many CIFAR-size images a second the loader augments and standardises, and how fast files are decoded.

Method: 20,000 generated 32x32 RGB images, one thread; whole epochs (gather, pad-crop, flip, standardise to
float32 channels_last), repeated, of which the median and the best are kept: a busy neighbour only slows
an epoch down. Decoding: generated PNG files through the folder reader, without a cache, on all cores.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Augmentation, DataOptions, ImageSet, Loader
from anytimenet.data.reading.decoding import decode_all

NAME = "data-loader"
COUNT = 20_000
FILES = 10_000
BATCH_SIZES = (32, 64, 128, 256)
AUGMENTATIONS = {"none": None, "flip": Augmentation(True, 0), "crop + flip": Augmentation(True, 4)}


def measure(rounds: int) -> dict[str, Any]:
    """The numbers of `run.py`; an epoch a round."""
    images = generated()
    loading_rows = [
        loading(images, name, batch_size, rounds) for name in AUGMENTATIONS for batch_size in BATCH_SIZES
    ]
    decoding_row = {"augmentation": "decoding PNG files", "median": decoding(images)}
    return {"unit": "images per second", "rows": [*loading_rows, decoding_row]}


def generated() -> ImageSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    return ImageSet(images, rng.integers(0, 10, (COUNT, 1)), tuple(map(str, range(COUNT))))


def loading(images: ImageSet, name: str, batch_size: int, repeats: int) -> dict[str, Any]:
    preprocessing = Preprocessing(32, 32, 3, (0.5,) * 3, (0.25,) * 3)
    loader = Loader(images, preprocessing, batch_size=batch_size, augment=AUGMENTATIONS[name], shuffle=True)
    speeds = []
    for epoch in range(repeats):
        start = time.perf_counter()
        for _ in loader.epoch(epoch):
            pass
        speeds.append(COUNT / (time.perf_counter() - start))
    return {
        "augmentation": name,
        "batch_size": batch_size,
        "median": round(statistics.median(speeds)),
        "best": round(max(speeds)),
    }


def decoding(images: ImageSet) -> int:
    """PNG files a second through the folder reader."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.png" for i in range(FILES)]
        for path, image in zip(paths, images.images, strict=False):
            Image.fromarray(image).save(path, compress_level=1)
        start = time.perf_counter()
        decode_all(lambda i: paths[i], [path.name for path in paths], DataOptions())
        return round(FILES / (time.perf_counter() - start))
