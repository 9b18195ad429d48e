"""A bundle as a folder that runs without PyTorch, from a bundle in memory or on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anytimenet.bundle import Bundle, load
from anytimenet.core import checks
from anytimenet.export import export
from anytimenet.export.formats import FORMATS
from anytimenet.runtime import ExportedNet
from anytimenet.runtime.exported.record import ExportRecord
from anytimenet.workflows.quantising import (
    MOST,
    calibration_images,
    check_reaches,
    compare,
    with_found,
)
from anytimenet.workflows.reading import Reading

Segments = Sequence[tuple[int, int]]


def export_bundle(
    bundle: Bundle | Path | str,
    folder: Path | str,
    *,
    format: str = "onnx",
    segments: Segments | None = None,
    int8: int | None = None,
    state_dtype: str = "float32",
    overwrite: bool = False,
    data: Any = None,
    data_root: Path | str | None = None,
    trust_paths: bool = False,
) -> Path:
    """Writes a bundle as a folder that other engines run; `anytimenet.runtime.ExportedNet.load` reads it.

    Weights are stored once, in files by stage; each segment is a file that reads them. The folder has the
    labels, preprocessing, accuracies, thresholds and cost tables of the bundle, too.

    Args:
        bundle: the bundle, or its folder, or the folder of the run that made it.
        folder: to write.
        format: "onnx", which ONNX Runtime and OpenVINO run; "openvino", which OpenVINO loads without ONNX;
            "torch", `torch.export` programs, see `anytimenet.export.programs`; "native", the program of the
            native engine, which needs nothing else.
        segments: (start, stop) of each segment that runs may use; by default every step (k-1, k) and every
            sub-network (0, k).
        int8: convolutions compute with 8-bit whole numbers, whose ranges so many training images show, for
            example 256; None for float32. The folder then tells the accuracies that these segments have on
            the validation images, and `ExportedNet.about["int8"]` how many answers are the same. Measure
            whether it is faster: small nets are not.
        state_dtype: number format that states are kept in between segments: "float16" halves them.
        overwrite: replace an export that is in `folder`.
        data, data_root, trust_paths: with `int8`, as in `evaluate`: by default the data of the training.

    Returns:
        The folder.

    Raises:
        BackendError: if a segment cannot be written in that format.
        BundleError: if `bundle` is none, something is in the way, or the folder cannot be written.
        DataError: if there are no images to calibrate with, or to compare on.
        MissingExtraError: if what the format is built on is not installed.
        ValueError: for a format or segments that do not exist.
    """
    checks.instance(bundle, (Bundle, Path, str), "bundle", "load(PATH)")
    checks.path(folder, "folder")
    checks.choice(format, "format", FORMATS)
    checks.flag(overwrite, "overwrite")
    int8 = checks.optional(int8, "int8", checks.whole_number, 1, MOST)
    source = bundle if isinstance(bundle, Bundle) else load(bundle)
    reading = Reading(source, data, data_root=data_root, trust_paths=trust_paths, device="cpu")
    if int8 is None:
        return export(
            source, folder, format=format, segments=segments, overwrite=overwrite, state_dtype=state_dtype
        )
    if segments is not None:
        check_reaches(source.num_stages, segments)
    images = calibration_images(reading, int8)
    out = export(
        source,
        folder,
        format=format,
        segments=segments,
        overwrite=overwrite,
        state_dtype=state_dtype,
        calibration=images,
    )
    found = compare(ExportedNet.load(out), reading, len(images))
    with_found(ExportRecord.read(out), found).write(out)
    return out


def every_segment(num_stages: int) -> list[tuple[int, int]]:
    """All steps and jumps.

    >>> every_segment(2)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(start, stop) for start in range(num_stages) for stop in range(start + 1, num_stages + 1)]
