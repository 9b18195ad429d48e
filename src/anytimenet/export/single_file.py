"""One ONNX file with the outputs of all stages, weights included: for tools that take one file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.core.errors import BundleError, require
from anytimenet.core.files.writing import write_bytes
from anytimenet.export.folder import as_float32, specs_of

COMPUTES_ALL = "every run of this file computes all stages, whichever output is asked for"


def export_single_file(bundle: Bundle, file: Path | str, *, overwrite: bool = False) -> Path:
    """Writes all stages as one ONNX file, with outputs such as "stage2.level1"; returns its path.

    It warns that engines compute the whole graph whichever output is asked for: nothing is saved by asking
    for stage 1. `export` writes segments, which stop where they are told to.

    Args:
        bundle: a saved or a new one.
        file: to write.
        overwrite: replace a file that is there.

    Raises:
        BackendError: if the net cannot be written.
        BundleError: if something is in the way, or the file cannot be written.
        MissingExtraError: if onnx is not installed.
    """
    onnx = require("onnx", "export")
    from anytimenet.export.onnx_files import model_of
    from anytimenet.export.stored import StoredWeights, pieces_of
    from anytimenet.export.tracing import trace_steps

    file = checks.path(file, "file")
    if file.exists() and not (checks.flag(overwrite, "overwrite") and file.is_file()):
        raise BundleError(f"{file} exists: choose another name, or replace it with overwrite=True")
    warnings.warn(f"{COMPUTES_ALL}; export segments to stop early", stacklevel=2)
    net = as_float32(bundle.net)
    pairs = [(stage, stage + 1) for stage in range(net.num_stages)]
    specs = specs_of(net, bundle, pairs)
    snapshot, stored = net.snapshot(), StoredWeights(net)
    steps = [snapshot.segment(*pair) for pair in pairs]
    pieces = {
        f"steps.{place}.{name}": piece
        for place, step in enumerate(steps)
        for name, piece in pieces_of(step, stored).items()
    }
    model = onnx.load_from_string(model_of(trace_steps(steps, specs), pieces))
    _take_in(model, dict(stored.files))
    model.doc_string = COMPUTES_ALL
    about = bundle.manifest
    told = {"class_names": about.class_names, "preprocessing": about.preprocessing.to_dict()}
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in told.items()})
    try:
        write_bytes(file, model.SerializeToString())
    except OSError as error:
        raise BundleError(f"{file} cannot be written ({error.strerror or error}): choose another") from error
    return file


def _take_in(model: object, files: dict[str, bytes]) -> None:
    """Brings weights that lie in files into the model itself."""
    for tensor in model.graph.initializer:  # type: ignore[attr-defined]
        told = {entry.key: entry.value for entry in tensor.external_data}
        if told:
            start = int(told["offset"])
            tensor.raw_data = files[told["location"]][start : start + int(told["length"])]
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
