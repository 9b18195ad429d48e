"""A net on the backend that is named, whatever it is: the bundle's own, or one that runs exported files."""

from __future__ import annotations

import logging

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.runtime import Backend, Placement, PreparedModel, make_backend
from anytimenet.runtime.backends.preferred import measured_backend, preferred_backend
from anytimenet.workflows.reading import settled_device

OF_TORCH = ("eager", "compiled")
_SLOW_TO_PREPARE = ("compiled",)


def on_backend(bundle: Bundle, backend: str, place: Placement) -> PreparedModel:
    """The bundle on that backend; files that it runs lie in a temporary folder as long as the backend lives.

    Args:
        bundle: what is run; nothing in it changes.
        backend: a name of `backends_of(bundle)`, "onnxruntime", "openvino" or "native".
        place: device, threads and number format.

    Raises:
        BackendError: if no backend of that name can run it here.
        MissingExtraError: if what the backend is built on is not installed.
    """
    return PreparedModel(bundle.manifest, make_backend(bundle, checks.words(backend, "backend"), place))


def chosen_model(bundle: Bundle, backend: str | None, place: Placement) -> PreparedModel:
    """The bundle on the backend that is named, or that it was measured with here, or on the preferred one.

    Args:
        bundle: what is run; nothing in it changes.
        backend: a name as in `on_backend`, which wins; None for what answers by default.
        place: device, threads and number format.

    Raises:
        BackendError, MissingExtraError: as in `on_backend`, for a backend that is named.
    """
    name = measured_backend(bundle.cost_tables, place) if backend is None else backend
    return on_preferred(bundle, place) if name is None else on_backend(bundle, name, place)


def on_preferred(bundle: Bundle, place: Placement) -> PreparedModel:
    """The bundle on the native engine where that runs the net here; else in PyTorch, with a line why."""
    return PreparedModel(bundle.manifest, preferred_backend(bundle, place, told=logging.WARNING))


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
    """Where and how a backend of that name, or the preferred one, runs.

    "auto" is where the bundle's net lies, for PyTorch, else the CPU.
    """
    if isinstance(device, str) and device == "auto":
        lies = "cpu" if bundle is None else str(next(bundle.net.parameters()).device)
        return Placement(lies if backend in (None, *OF_TORCH) else "cpu", threads, dtype)
    name = settled_device(device) if backend in (None, *OF_TORCH) else checks.words(device, "device")
    return Placement(name, threads, dtype)
