"""An exported folder: what sessions and backends read, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from anytimenet.core import checks
from anytimenet.core.errors import BackendError, BundleError
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import read_listed
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.core.manifest.tables import kept_tables, usable_table
from anytimenet.core.segments import SegmentSpec
from anytimenet.runtime.backends.backend import Backend, Placement
from anytimenet.runtime.backends.known import backends_of, make_backend, register_backend
from anytimenet.runtime.backends.native import Native
from anytimenet.runtime.backends.onnxruntime import OnnxRuntime
from anytimenet.runtime.backends.openvino import OpenVino
from anytimenet.runtime.exported.record import AGAIN, EXPORT_NAME, ExportRecord, in_words
from anytimenet.runtime.policies.policy import ExitPolicy
from anytimenet.runtime.predictor import Predictor

_RUNS = {"onnx": "onnxruntime", "openvino": "openvino", "native": "native"}
"""The backend that runs a kind of folder where none is named."""

_PROFILE = "Measure it again with python -m anytimenet.runtime profile"


class ExportedNet:
    """The net in a folder that `anytimenet export` wrote: a `Model` for sessions and predictors.

    Every file was checked against its size and SHA-256 when it was loaded. They stay on disk, where backends
    open them.

    Attributes:
        folder: with the files.
        manifest: labels, preprocessing, validated accuracies and thresholds, as the bundle had them.
        cost_tables: measured costs.
        segment_specs: of the exported segments, by start, then stop.
        kind: what the segment files are: "onnx", "openvino", "torch" or "native".
        dtype: number format of weights and states.
        placement: where `backend` runs them.
    """

    def __init__(
        self,
        folder: Path,
        record: ExportRecord,
        cost_tables: Mapping[str, CostTable],
        backend: str | None = None,
        placement: Placement | None = None,
    ) -> None:
        self.folder = folder
        self.manifest: Manifest = record.net
        self.cost_tables = dict(cost_tables)
        self.segment_specs: tuple[SegmentSpec, ...] = tuple(one.spec for one in record.segments)
        self.kind, self.dtype = record.kind, record.dtype
        self.placement = placement or Placement()
        self._record = record
        self._files = {one.pair: one.files for one in record.segments}
        self._specs = {one.pair: one.spec for one in record.segments}
        self._backend = backend
        self._before: Backend | None = None

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        stages: int | None = None,
        backend: str | None = None,
        placement: Placement | None = None,
    ) -> ExportedNet:
        """The net in `folder`, once every file that it needs is known to be the one that was exported.

        Args:
            folder: that `anytimenet export` wrote, or the part of it that has arrived.
            stages: load the first so many stages, which need the first files only; all by default.
            backend: which runs it; by default "onnxruntime" for ONNX files, "openvino" for OpenVINO's.
            placement: where and how it runs; one thread of the processor by default.

        Raises:
            BundleError: if a file is missing, truncated, damaged, tampered with or of a newer format.
            ValueError: if there are not so many stages.
        """
        folder = checks.path(folder, "folder")
        record = ExportRecord.read(folder)
        total = record.net.num_stages
        stages = total if stages is None else checks.whole_number(stages, "stages", 1, total)
        return cls._checked(record, folder, 0, stages, backend, placement)

    def upgraded(self, stages: int) -> ExportedNet:
        """The net of further stages of its folder, whose files have come; only those are checked.

        Raises:
            BundleError: if one of them is missing or damaged, or another net was exported here since.
            ValueError: for fewer stages than this one has, or more than there are.
        """
        record = ExportRecord.read(self.folder)
        stages = checks.whole_number(stages, "stages", self.num_stages, record.net.num_stages)
        known, new = (replace(one, files=one.without_tables) for one in (self._record, record))
        if new.keep_first(self.num_stages) != known:
            raise BundleError(f"{self.folder} was replaced since stages were loaded from it: load it again")
        found = self._checked(record, self.folder, self.num_stages, stages, self._backend, self.placement)
        found._before = self.__dict__.get("backend")  # if it was made
        return found

    @classmethod
    def _checked(
        cls,
        record: ExportRecord,
        folder: Path,
        known: int,
        stages: int,
        backend: str | None,
        placement: Placement | None,
    ) -> ExportedNet:
        """The net of the first `stages`; the files of the first `known` have been checked before."""
        for number in range(known + 1, stages + 1):
            before = set(record.needed(number - 1))
            for name in record.needed(number):
                if name not in before:
                    _check_file(folder, name, record, number)
        tables = kept_tables(_tables(folder, record), range(1, stages + 1))
        return cls(folder, record.keep_first(stages), tables, backend, placement)

    @cached_property
    def backend(self) -> Backend:
        """What runs its segments.

        Raises:
            BackendError: if that backend cannot run them.
            MissingExtraError: if what it is built on is not installed.
        """
        before, self._before = self._before, None
        if isinstance(before, Native):
            return before.upgraded(self)
        name = self._backend or _RUNS.get(self.kind, self.kind)
        if name == "torch" and name not in backends_of(self):
            raise BackendError(
                f"{self.folder} holds torch programs, and a file made on purpose can run code when PyTorch "
                "reads it: if you trust who made it, import anytimenet.export.programs first"
            )
        return make_backend(self, name, self.placement)

    def predictor(
        self, *, policy: ExitPolicy | Literal["stored"] | None = "stored", variant: str = "alert"
    ) -> Predictor:
        """What answers within budgets on `backend`, with its segments prepared and warm.

        Deadlines are planned with the cost table that this machine measured with this backend, if the folder
        holds one: `python -m anytimenet.runtime profile FOLDER` makes it.

        Args:
            policy: which images leave early; by default the one that the stored thresholds are for.
            variant: of the planner; see `Planner`.
        """
        backend = self.backend
        table = table_for(self.cost_tables, backend.name, backend.placement)
        found = Predictor(self, table=table, policy=policy, variant=variant)
        found.warm_up()
        return found

    @property
    def about(self) -> dict[str, Any]:
        """What wrote the folder, any JSON object; under "int8" how 8-bit segments compare with float32."""
        return dict(self._record.about)

    @property
    def num_stages(self) -> int:
        """K."""
        return self.manifest.num_stages

    @property
    def segments(self) -> frozenset[tuple[int, int]]:
        """Every (start, stop) that was exported."""
        return frozenset(self._files)

    def files_of(self, start: int, stop: int) -> tuple[Path, ...]:
        """The files of a segment, the one to open first; the weights that they read lie beside them.

        Raises:
            ValueError: for a segment that was not exported.
        """
        return tuple(self.folder / name for name in self._files[self._exported(start, stop)])

    def spec_of(self, start: int, stop: int) -> SegmentSpec:
        """What a segment reads, gives and costs.

        Raises:
            ValueError: for a segment that was not exported.
        """
        spec = self._specs.get((start, stop))
        return self._specs[self._exported(start, stop)] if spec is None else spec

    def weight_files(self, stage: int) -> tuple[Path, ...]:
        """The files with the weights that stage `stage` adds to those of the stages before.

        Raises:
            ValueError: if there is no such stage.
        """
        stage = checks.whole_number(stage, "stage", 1, self.num_stages)
        return tuple(self.folder / name for name in self._record.weights[stage - 1])

    def recheck(self, start: int, stop: int) -> None:
        """Looks at the files of a segment once more, as a backend does that cannot open them.

        Raises:
            BundleError: if one is not the file any more that was loaded.
            ValueError: for a segment that was not exported.
        """
        weights = [name for names in self._record.weights[:stop] for name in names]
        for name in (*self._files[self._exported(start, stop)], *weights):
            _check_file(self.folder, name, self._record, 1)

    def _exported(self, start: int, stop: int) -> tuple[int, int]:
        if (start, stop) not in self._files:
            there = ", ".join(in_words(pair) for pair in sorted(self._files))
            raise ValueError(
                f"segment ({start}, {stop}) was not exported: export it with segments=[{(start, stop)}, "
                f"...]; {self.folder} holds {there}"
            )
        return start, stop

    def __repr__(self) -> str:
        return f"ExportedNet({self.kind}, {self.num_stages} stages, {len(self._files)} segments)"


def _check_file(folder: Path, name: str, record: ExportRecord, stage: int) -> None:
    """Raises BundleError unless the file is there and the one that was exported."""
    if name not in record.files:
        raise BundleError(f"{folder / EXPORT_NAME} does not list {name}: {AGAIN}")
    if stage > 1 and not (folder / name).exists():
        raise BundleError(
            f"{folder / name} is missing: download it, or load the stages that are there with "
            f"stages={stage - 1}"
        )
    read_listed(folder, name, record.files[name], listed_in=EXPORT_NAME, again=AGAIN)


def _tables(folder: Path, record: ExportRecord) -> dict[str, CostTable]:
    """The cost tables that have arrived; the answers do not depend on them."""
    found = {}
    for name in record.tables:
        if (folder / name).exists():
            data = read_listed(folder, name, record.files[name], listed_in=EXPORT_NAME, again=AGAIN)
            table = usable_table(str(folder / name), data, record.net, _PROFILE)
            if table is not None:
                found[table.key] = table
    return found


register_backend(ExportedNet, "onnxruntime", OnnxRuntime)
register_backend(ExportedNet, "openvino", OpenVino)
register_backend(ExportedNet, "native", Native)
