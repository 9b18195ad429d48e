"""Predictors: any net, live or exported, on any backend that runs it here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from anytimenet.bundle import Bundle, load
from anytimenet.core import checks
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.runtime.exported.record import EXPORT_NAME
from anytimenet.runtime.policies.policy import ExitPolicy
from anytimenet.runtime.predictor import Predictor
from anytimenet.workflows.on_backend import chosen_model, placed


def predictor(
    net: Bundle | ExportedNet | Path | str,
    *,
    backend: str | None = None,
    threads: int = 1,
    dtype: str = "float32",
    device: str = "cpu",
    policy: ExitPolicy | Literal["stored"] | None = "stored",
    variant: str = "alert",
) -> Predictor:
    """What answers images of a net within budgets, with its segments prepared and warm.

    Deadlines need the latencies of this machine, backend, number of threads and number format: `profile`
    measures them and the net keeps them.

    Args:
        net: a bundle, an exported net, or the folder of one.
        backend: what runs the segments: "native", "eager" PyTorch, "compiled", "onnxruntime", "openvino"; of
            an exported net by default what its files are for. Of a bundle it is by default the one that it
            was profiled with on this machine, the native engine first; if none, the native engine where that
            runs the net, and PyTorch otherwise, with a line in the log that says why. A bundle is exported to
            a temporary folder, which lives as long as the predictor, where the backend runs files.
        threads: that one segment uses.
        dtype: number format of weights and states.
        device: "cpu", or a GPU such as "cuda" for PyTorch; "auto" is where the net lies.
        policy: which images leave early; by default the one that the stored thresholds are for.
        variant: of the planner; see `Planner`.

    Raises:
        BackendError: if no backend of that name runs the net here.
        MissingExtraError: if what the backend is built on is not installed.

    Example::

        fast = an.predictor("runs/digits", backend="onnxruntime")
        fast.predict("digit.png", deadline_ms=2).label
    """
    checks.instance(net, (Bundle, ExportedNet, Path, str), "net", "load(PATH)")
    name = checks.optional(backend, "backend", checks.words)
    if isinstance(net, Path | str):
        folder = checks.path(net, "net")
        net = folder_of_export(folder) or load(folder)
    if not isinstance(net, Bundle):
        exported = ExportedNet.load(net.folder, backend=name, placement=Placement(device, threads, dtype))
        return exported.predictor(policy=policy, variant=variant)
    found = _cold(net, name, placed(name, device, threads, dtype, net), policy, variant)
    found.warm_up()
    return found


def predictor_when_asked(bundle: Bundle, *, backend: str | None = None, threads: int = 1) -> Predictor:
    """The same for answers without deadlines: segments are prepared when an image first needs them."""
    return _cold(bundle, backend, placed(backend, "cpu", threads, "float32", bundle), "stored", "alert")


def _cold(
    bundle: Bundle,
    backend: str | None,
    place: Placement,
    policy: ExitPolicy | Literal["stored"] | None,
    variant: str,
) -> Predictor:
    model = chosen_model(bundle, backend, place)
    table = table_for(bundle.cost_tables, model.backend.name, model.backend.placement)
    return Predictor(model, table=table, policy=policy, variant=variant)


def folder_of_export(folder: Path) -> ExportedNet | None:
    """The exported net in a folder; None if it holds none, but perhaps a bundle."""
    return ExportedNet.load(folder) if (folder / EXPORT_NAME).is_file() else None
