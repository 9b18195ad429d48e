"""What a format is asked to write, and what it says that it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.segments import SegmentSpec
from anytimenet.nets.contract import AnytimeNet


@dataclass(frozen=True)
class Job:
    """What is to be written, and where.

    Attributes:
        net: in eval mode, its weights in float32; nobody else holds it.
        specs: of the segments that are wanted, by start, then stop; shapes are those of one example.
        folder: an empty folder.
        calibration: where the segments are to compute with 8-bit whole numbers: standardised images
            `(N, C, H, W)` that show the ranges of activations.
        manifest: what is known of the net, for formats that tell hosts of it; else None.
        every: of all segments of the net; None where nobody has counted them.
    """

    net: AnytimeNet
    specs: tuple[SegmentSpec, ...]
    folder: Path
    calibration: np.ndarray | None = None
    manifest: Manifest | None = None
    every: tuple[SegmentSpec, ...] | None = None


@dataclass(frozen=True)
class Written:
    """What a format wrote.

    Attributes:
        weights: for each stage 1..K the names of the files with the weights that it adds.
        segments: for each segment (start, stop) the names of its own files, the one to open first.
        dtype: number format of weights and states.
        opset: of ONNX operators; None for other formats.
    """

    weights: tuple[tuple[str, ...], ...]
    segments: Mapping[tuple[int, int], tuple[str, ...]]
    dtype: str = "float32"
    opset: int | None = None
