"""Live bundles on engines that run files: exported into a folder that lives as long as the backend."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

from anytimenet.bundle import Bundle
from anytimenet.export.folder import export
from anytimenet.runtime.backends.backend import Backend, Placement
from anytimenet.runtime.backends.known import register_backend
from anytimenet.runtime.exported.net import ExportedNet

FORMATS = {"onnxruntime": "onnx", "openvino": "openvino", "native": "native"}
"""What a bundle is exported as for each."""


def exported_backend(bundle: Bundle, backend: str, placement: Placement) -> Backend:
    """Runs a bundle on files of its own: steps, (0, k) and (k, K); where one file holds them, all segments.

    Args:
        bundle: nothing in it changes, and later changes of it are not seen.
        backend: a name of `FORMATS`.
        placement: where and how it runs.

    Raises:
        BackendError: if the net cannot be written for that engine, or the engine is not there.
        MissingExtraError: if what the backend is built on is not installed.
    """
    segments = _segments(bundle.num_stages, every=FORMATS[backend] == "native")
    folder = tempfile.TemporaryDirectory(prefix="anytimenet-")
    try:
        out = Path(folder.name) / "export"
        files = export(bundle, out, format=FORMATS[backend], segments=segments)
        runner = ExportedNet.load(files, backend=backend, placement=placement).backend
    except BaseException:
        folder.cleanup()
        raise
    weakref.finalize(runner, folder.cleanup)
    return runner


def _segments(last: int, *, every: bool) -> list[tuple[int, int]]:
    pairs = [(start, stop) for start in range(last) for stop in range(start + 1, last + 1)]
    return [pair for pair in pairs if every or pair[0] in (0, pair[1] - 1) or pair[1] == last]


def _make(backend: str) -> Callable[[Bundle, Placement], Backend]:
    return lambda bundle, placement: exported_backend(bundle, backend, placement)


def register() -> None:
    """Makes these backends known for bundles."""
    for name in FORMATS:
        register_backend(Bundle, name, _make(name))
