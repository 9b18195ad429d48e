"""How many CIFAR-size images a second the loader augments and standardises, and how fast files are decoded.

Method: 20,000 generated 32x32 RGB images, one thread; whole epochs (gather, pad-crop, flip, standardise to
float32 channels_last), repeated, of which the median and the best are kept: a busy neighbour only slows
an epoch down. Decoding: generated PNG files through the folder reader, without a cache, on all cores.

    python benchmarks/data/loader.py --out benchmarks/data/loader.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from anytimenet.core.files import write_json
from anytimenet.core.machine import machine_stamp
from anytimenet.core.preprocessing import Preprocessing
from anytimenet.data import Augmentation, DataOptions, ImageSet, Loader
from anytimenet.data.decoding import decode_all

COUNT = 20_000
BATCH_SIZES = (32, 64, 128, 256)
AUGMENTATIONS = {"none": None, "flip": Augmentation(True, 0), "crop + flip": Augmentation(True, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15, help="epochs for each number")
    parser.add_argument("--files", type=int, default=10_000, help="PNG files to decode")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = generated()
    rows = [
        loading(images, name, batch_size, arguments.repeats)
        for name in AUGMENTATIONS
        for batch_size in BATCH_SIZES
    ]
    result = {
        "machine": machine_stamp({"torch": torch.__version__}),
        "unit": "images per second",
        "threads": 1,
        "loading": rows,
        "decoding": decoding(images, arguments.files),
    }
    for row in rows:
        name, size, median, best = row.values()
        print(f"{name:12} batch {size:4} {median:9,} median {best:9,} best")
    print(f"decoding {result['decoding']['images_per_second']:,} PNG files a second")
    if arguments.out:
        write_json(arguments.out, result)


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


def decoding(images: ImageSet, files: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{i}.png" for i in range(files)]
        for i, name in enumerate(names):
            Image.fromarray(images.images[i % COUNT]).save(Path(folder) / name, compress_level=1)
        start = time.perf_counter()
        decode_all(lambda i: Path(folder) / names[i], names, DataOptions())
        seconds = time.perf_counter() - start
    return {"files": files, "images_per_second": round(files / seconds)}


if __name__ == "__main__":
    main()
