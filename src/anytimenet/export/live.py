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
    """Runs a bundle on files of its own: steps, (0, k) and (k, K).

    Args:
        bundle: nothing in it changes, and later changes of it are not seen.
        backend: a name of `FORMATS`.
        placement: where and how it runs.

    Raises:
        BackendError: if the net cannot be written for that engine, or the engine is not there.
        MissingExtraError: if what the backend is built on is not installed.
    """
    last = bundle.num_stages
    steps = {(stage - 1, stage) for stage in range(1, last + 1)}
    segments = steps | {(0, stage) for stage in range(1, last + 1)} | {(stage, last) for stage in range(last)}
    folder = tempfile.TemporaryDirectory(prefix="anytimenet-")
    try:
        out = Path(folder.name) / "export"
        files = export(bundle, out, format=FORMATS[backend], segments=sorted(segments))
        runner = ExportedNet.load(files, backend=backend, placement=placement).backend
    except BaseException:
        folder.cleanup()
        raise
    weakref.finalize(runner, folder.cleanup)
    return runner


def _make(backend: str) -> Callable[[Bundle, Placement], Backend]:
    return lambda bundle, placement: exported_backend(bundle, backend, placement)


def register() -> None:
    """Makes these backends known for bundles."""
    for name in FORMATS:
        register_backend(Bundle, name, _make(name))
