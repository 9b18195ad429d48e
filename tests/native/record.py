"""Records cases for the drivers: `python record.py FOLDER` writes tiny nets and what PyTorch answers, and
images and what Pillow and numpy make of them.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import torch

from anytimenet import Preprocessing, create_net
from anytimenet.core.images.decoding import RESAMPLE
from anytimenet.export.native_files import program_of
from anytimenet.export.stored import StoredWeights
from anytimenet.testing.net_under_test import redraw

CASES = {
    "sliced": ("isresnext_tiny", (3, 8, 8)),
    "sliced_oblong": ("isresnext_tiny", (3, 12, 20)),
    "from_the_stem": ("iresnext_tiny", (3, 8, 8)),
    "doubling": ("doubling_both_tiny", (3, 8, 8)),
    "exits": ("resnext_exits_tiny", (3, 16, 16)),
    "lite": ("efficientnet_lite_tiny", (3, 13, 22)),
    "lite_large": ("efficientnet_lite_tiny", (3, 420, 420)),  # goes channel by channel
}

IMAGES = 72


def record(name: str, shape: tuple[int, int, int]) -> bytes:
    """One case; see case.h."""
    draw = torch.Generator().manual_seed(0)
    net = create_net(name).eval()
    redraw(net, draw)
    stored = StoredWeights(net)
    x = torch.randn(1, *shape, generator=draw)
    with torch.no_grad():
        outputs = [output[0].numpy().tobytes() for output in net(x)]
    shards = [data for _, data in stored.files]
    parts = [_sized(program_of(net, shape, stored)), struct.pack("<I", len(shards)), *map(_sized, shards)]
    parts += [_sized(x.numpy().tobytes()), struct.pack("<I", len(outputs)), *map(_sized, outputs)]
    return b"".join(parts)


def record_image(number: int) -> bytes:
    """One image; see image.h."""
    draw = np.random.default_rng(number)
    height, width, to_height, to_width = (int(side) for side in draw.integers(1, 40, 4))
    channels, own = (1, 3, 4)[number % 3], (1, 3)[number % 2]
    shorter = max(to_height, to_width) + number % 5 if number % 4 == 0 else None
    mean, std = (0.485, 0.456, 0.406)[:own], (0.229, 0.224, 0.225)[:own]
    how = Preprocessing(to_height, to_width, own, mean, std, RESAMPLE[number % len(RESAMPLE)], shorter)
    pixels = draw.integers(0, 256, (height, width, channels), np.uint8)
    numbers = height, width, channels, to_height, to_width, own, number % len(RESAMPLE), shorter or 0
    doubles = (*mean, *(0.0,) * (3 - own), *std, *(0.0,) * (3 - own))
    wanted = np.ascontiguousarray(how.standardise(how.decode(pixels)[None]))
    return struct.pack("<8i6d", *numbers, *doubles) + pixels.tobytes() + wanted.tobytes()


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case, (name, shape) in CASES.items():
        (folder / f"{case}.case").write_bytes(record(name, shape))
    for number in range(IMAGES):
        (folder / f"{number}.image").write_bytes(record_image(number))
