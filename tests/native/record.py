"""Records cases for the drivers: `python record.py FOLDER` writes tiny nets and what PyTorch answers."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import torch

from anytimenet import create_net
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


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case, (name, shape) in CASES.items():
        (folder / f"{case}.case").write_bytes(record(name, shape))
