"""A bundle as a folder that runs without PyTorch, from a bundle in memory or on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anytimenet.bundle import Bundle, load
from anytimenet.core import checks
from anytimenet.export import export
from anytimenet.export.formats import FORMATS

Segments = Sequence[tuple[int, int]]


def export_bundle(
    bundle: Bundle | Path | str,
    folder: Path | str,
    *,
    format: str = "onnx",
    segments: Segments | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a bundle as a folder that other engines run; `anytimenet.runtime.ExportedNet.load` reads it.

    Weights are stored once, in files by stage; each segment is a file that reads them. The folder has the
    labels, preprocessing, accuracies, thresholds and cost tables of the bundle, too.

    Args:
        bundle: the bundle, or its folder, or the folder of the run that made it.
        folder: to write.
        format: "onnx", which ONNX Runtime and OpenVINO run; "openvino", which OpenVINO loads without ONNX.
        segments: (start, stop) of each segment that runs may use; by default every step (k-1, k) and every
            sub-network (0, k).
        overwrite: replace an export that is in `folder`.

    Returns:
        The folder.

    Raises:
        BackendError: if a segment cannot be written in that format.
        BundleError: if `bundle` is none, something is in the way, or the folder cannot be written.
        MissingExtraError: if what the format is built on is not installed.
        ValueError: for a format or segments that do not exist.
    """
    checks.instance(bundle, (Bundle, Path, str), "bundle", "load(PATH)")
    checks.path(folder, "folder")
    checks.choice(format, "format", FORMATS)
    checks.flag(overwrite, "overwrite")
    source = bundle if isinstance(bundle, Bundle) else load(bundle)
    return export(source, folder, format=format, segments=segments, overwrite=overwrite)


def every_segment(num_stages: int) -> list[tuple[int, int]]:
    """All steps and jumps.

    >>> every_segment(2)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(start, stop) for start in range(num_stages) for stop in range(start + 1, num_stages + 1)]
