"""`export`: a bundle as a folder that other engines run, whole or not at all."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from anytimenet.bundle import Bundle
from anytimenet.bundle.folder import savable
from anytimenet.core import checks
from anytimenet.core.errors import BundleError
from anytimenet.core.files.regular import read_regular
from anytimenet.core.files.writing import new_folder, write_bytes
from anytimenet.core.manifest.folder import record_of
from anytimenet.core.manifest.tables import pack_table
from anytimenet.core.segments import INPUT, SegmentSpec, TensorSpec
from anytimenet.core.version import __version__
from anytimenet.costs.segment_specs import segment_specs
from anytimenet.export.formats import FORMATS
from anytimenet.export.job import Job, Written
from anytimenet.export.program_cache import kept_segments
from anytimenet.nets.contract import AnytimeNet
from anytimenet.runtime.exported.record import EXPORT_NAME, ExportRecord, SegmentFiles


def export(
    bundle: Bundle,
    folder: Path | str,
    *,
    format: str = "onnx",
    segments: Sequence[tuple[int, int]] | None = None,
    overwrite: bool = False,
    state_dtype: str = "float32",
    calibration: np.ndarray | None = None,
) -> Path:
    """Writes the segments of a bundle as files that run without PyTorch; returns the folder.

    Args:
        bundle: a saved or a new one.
        folder: to write; `runtime.ExportedNet.load` reads it.
        format: a name in `export.formats.FORMATS`.
        segments: (start, stop) of each segment that plans may use; by default every step (k-1, k) and every
            sub-network (0, k).
        overwrite: replace an export that is there.
        state_dtype: number format that states are kept in between segments, which compute in float32;
            "float16" halves them. The input stays as it is.
        calibration: standardised images `(N, C, H, W)`: convolutions then compute with 8-bit whole
            numbers, whose ranges the images show. Measured latencies are left out.

    Raises:
        BackendError: if a segment cannot be written in that format.
        BundleError: if something is in the way, or the folder cannot be written.
        MissingExtraError: if what the format is built on is not installed.
        ValueError: for a format or segments that do not exist.
    """
    folder = checks.path(folder, "folder")
    checks.choice(format, "format", FORMATS)
    checks.choice(state_dtype, "state_dtype", STATE_DTYPES)
    if calibration is not None and format != "onnx":
        raise ValueError(f"format={format!r}: 8-bit segments are written as 'onnx'")
    if state_dtype != "float32" and format != "onnx":
        raise ValueError(f"format={format!r}: states in {state_dtype} are written as 'onnx'")
    _check_replaceable(folder, checks.flag(overwrite, "overwrite"))
    net = as_float32(bundle.net)
    every = with_states_in(state_dtype, every_spec_of(net, bundle))
    specs = _chosen(every, segments)
    try:
        with new_folder(folder) as place:
            written = FORMATS[format](
                Job(net, specs, place, calibration, bundle.manifest, None if bundle.rules else every)
            )
            for table in bundle.cost_tables.values() if calibration is None else ():
                name, data = pack_table(table)
                write_bytes(place / name, data)
            record = _record(bundle, format, specs, written, place)
            (record if calibration is None else _unvalidated(record)).write(place)
    except OSError as error:
        raise BundleError(
            f"the export cannot be written to {folder} ({error.strerror or error}); what was there is "
            "unchanged: make room, or choose another folder"
        ) from error
    return folder


STATE_DTYPES = ("float32", "float16")
"""Number formats that states can be kept in."""


def with_states_in(dtype: str, specs: Sequence[SegmentSpec]) -> tuple[SegmentSpec, ...]:
    """All segments of a net, with states in that number format, but for the input."""

    def kept(tensor: TensorSpec) -> TensorSpec:
        changes = tensor.name != INPUT and tensor.dtype == "float32"
        return replace(tensor, dtype=dtype) if changes else tensor

    states = {spec.start: tuple(map(kept, spec.reads)) for spec in specs}
    return tuple(
        replace(
            spec,
            reads=states[spec.start],
            changes=tuple(map(kept, spec.changes)),
            state_bytes=sum(tensor.nbytes for tensor in states.get(spec.stop, ())),
        )
        for spec in specs
    )


def default_segments(num_stages: int) -> list[tuple[int, int]]:
    """Every step and every sub-network.

    >>> default_segments(3)
    [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    """
    stages = range(1, num_stages + 1)
    return sorted({*((stage - 1, stage) for stage in stages), *((0, stage) for stage in stages)})


def specs_of(
    net: AnytimeNet, bundle: Bundle, segments: Sequence[tuple[int, int]] | None
) -> tuple[SegmentSpec, ...]:
    """What the segments that are to be exported read, give and cost."""
    return _chosen(every_spec_of(net, bundle), segments)


def every_spec_of(net: AnytimeNet, bundle: Bundle) -> tuple[SegmentSpec, ...]:
    """The same of all segments; `net` is that of the bundle, in float32."""
    shape, rules = bundle.manifest.input_shape, bundle.rules
    return kept_segments(net, shape, rules, lambda: segment_specs(net, shape, rules=rules))


def _chosen(
    every: Sequence[SegmentSpec], segments: Sequence[tuple[int, int]] | None
) -> tuple[SegmentSpec, ...]:
    last = every[-1].stop
    wanted = default_segments(last) if segments is None else _pairs(segments, last)
    known = {(spec.start, spec.stop): spec for spec in every}
    return tuple(known[pair] for pair in wanted)


def _pairs(segments: Sequence[tuple[int, int]], num_stages: int) -> list[tuple[int, int]]:
    found = set()
    for given in checks.several(segments, "segments"):
        pair = checks.whole_numbers(given, "segments", 0, num_stages)
        if len(pair) != 2 or not pair[0] < pair[1]:
            raise ValueError(
                f"segments: {given} does not exist: (start, stop), 0 <= start < stop <= {num_stages}"
            )
        found.add((pair[0], pair[1]))
    if not any(start == 0 for start, _ in found):
        raise ValueError("segments: none begins with the input, so that nothing could run: add (0, 1)")
    return sorted(found)


def as_float32(net: AnytimeNet) -> AnytimeNet:
    """A copy that the formats may do with as they like."""
    return copy.deepcopy(net).to("cpu", torch.float32).eval().requires_grad_(False)


def _record(
    bundle: Bundle, kind: str, specs: Sequence[SegmentSpec], written: Written, folder: Path
) -> ExportRecord:
    manifest, _ = savable(bundle.net, bundle.manifest)
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return ExportRecord(
        kind=kind,
        net=replace(manifest, files={}),
        segments=tuple(SegmentFiles(spec, tuple(written.segments[spec.start, spec.stop])) for spec in specs),
        weights=written.weights,
        files={name: record_of(read_regular(folder / name, 2**40)) for name in names},
        dtype=written.dtype,
        opset=written.opset,
        about={"anytimenet": __version__, "torch": torch.__version__},
    )


def _unvalidated(record: ExportRecord) -> ExportRecord:
    """The record without what holds of the float32 net alone."""
    stages = tuple(replace(one, val_accuracy=None, coarser_val_accuracies=()) for one in record.net.stages)
    return replace(record, net=replace(record.net, stages=stages, thresholds=None, level_selection=None))


def _check_replaceable(folder: Path, overwrite: bool) -> None:
    """Raises BundleError if something else than a former export would be lost."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / EXPORT_NAME).is_file():
        raise BundleError(f"{folder} exists and is no export: choose another folder, or move it away first")
    listed = {*ExportRecord.read(folder).files, EXPORT_NAME}
    foreign = sorted(
        name
        for name in (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        if name not in listed
    )
    if foreign:
        raise BundleError(f"{folder / foreign[0]} is not the export's and would be lost: move it away first")
    if not overwrite:
        raise BundleError(
            f"{folder} holds an export already: choose another folder, or replace it with overwrite=True"
        )
