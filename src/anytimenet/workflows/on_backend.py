"""A net on the backend that is named, whatever it is: the bundle's own, or one that runs exported files."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.runtime import Backend, ExportedNet, Placement, PreparedModel, backends_of, make_backend
from anytimenet.runtime.backends.known import unknown_backend
from anytimenet.workflows.reading import settled_device

OF_TORCH = ("eager", "compiled")
_SLOW_TO_PREPARE = ("compiled",)
_FORMATS = {"onnxruntime": "onnx", "openvino": "openvino", "native": "native"}
"""What a bundle is exported as, so that a backend can run it that needs files."""


def on_backend(bundle: Bundle, backend: str, place: Placement) -> PreparedModel:
    """The bundle on that backend; files that it runs lie in a temporary folder as long as the backend lives.

    Steps, (0, k) and (k, K) are exported where files are needed.

    Args:
        bundle: what is run; nothing in it changes.
        backend: a name of `backends_of(bundle)`, "onnxruntime", "openvino" or "native".
        place: device, threads and number format.

    Raises:
        BackendError: if no backend of that name can run it here.
        MissingExtraError: if what the backend is built on is not installed.
    """
    known, backend = backends_of(bundle), checks.words(backend, "backend")
    if backend not in (*known, *_FORMATS):
        raise unknown_backend(bundle, backend, (*known, *_FORMATS))
    if backend in known:
        return PreparedModel(bundle.manifest, make_backend(bundle, backend, place))
    from anytimenet.export import export

    last = bundle.num_stages
    steps = {(stage - 1, stage) for stage in range(1, last + 1)}
    segments = steps | {(0, stage) for stage in range(1, last + 1)} | {(stage, last) for stage in range(last)}
    folder = tempfile.TemporaryDirectory(prefix="anytimenet-")
    format, out = _FORMATS[backend], Path(folder.name) / "export"
    try:
        files = export(bundle, out, format=format, segments=sorted(segments))
        runner = ExportedNet.load(files, backend=backend, placement=place).backend
    except BaseException:
        folder.cleanup()
        raise
    weakref.finalize(runner, folder.cleanup)
    return PreparedModel(bundle.manifest, runner)


def prepared_beforehand(backend: Backend) -> set[tuple[int, int]] | None:
    """Makes ready what takes a compiler so long that no time would be left to measure: steps and (0, k).

    Returns:
        These segments; None for a backend that prepares quickly, all of whose segments may be measured.
    """
    if backend.name not in _SLOW_TO_PREPARE:
        return None
    plans = {(start, stop) for start, stop in backend.segments if start in (0, stop - 1)}
    for start, stop in sorted(plans):
        backend.prepare(start, stop)
    return plans


def placed(
    backend: str | None, device: object, threads: int, dtype: str, bundle: Bundle | None = None
) -> Placement:
    """Where and how a backend of that name runs; "auto" is where the bundle's net lies, else the CPU."""
    if isinstance(device, str) and device == "auto":
        lies = "cpu" if bundle is None else str(next(bundle.net.parameters()).device)
        return Placement(lies if backend in OF_TORCH else "cpu", threads, dtype)
    name = settled_device(device) if backend in OF_TORCH else checks.words(device, "device")
    return Placement(name, threads, dtype)
