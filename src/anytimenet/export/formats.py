"""The formats that a net can be exported in: a table of names, and what each is asked to write.

A format is a function from `Job` to `Written`: it writes its files into `job.folder` and says which they are.
Sizes, hashes, cost tables and `manifest.json` are written by `export` for all of them. Weight files of one
stage come after those of the stages before: segments to stage k may read those of stages 1..k alone.
"""

from __future__ import annotations

from collections.abc import Callable

from anytimenet.core.errors import require
from anytimenet.export.job import Job, Written

Format = Callable[[Job], Written]


def _onnx(job: Job) -> Written:
    require("onnx", "export")
    from anytimenet.export import int8_files, onnx_files

    return onnx_files.write(job) if job.calibration is None else int8_files.write(job)


def _openvino(job: Job) -> Written:
    require("onnx", "export")
    require("openvino", "openvino")
    from anytimenet.export.openvino_files import write

    return write(job)


def _torch(job: Job) -> Written:
    from anytimenet.export.torch_files import write

    return write(job)


def _native(job: Job) -> Written:
    from anytimenet.export.native_files import write

    return write(job)


FORMATS: dict[str, Format] = {"onnx": _onnx, "openvino": _openvino, "torch": _torch, "native": _native}
"""By name; a format imports what it is built on when it is called, through `core.errors.require`."""
