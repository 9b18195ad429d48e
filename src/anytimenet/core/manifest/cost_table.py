"""Measured latency of segments in one place: saved beside a bundle, read by planners and reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import CostTableError
from anytimenet.core.files.regular import read_json
from anytimenet.core.files.writing import write_json
from anytimenet.core.manifest.latency import Latency as Latency
from anytimenet.core.manifest.latency import between
from anytimenet.core.manifest.machine import machine_stamp, same_machine
from anytimenet.core.records import JsonForm, as_json, from_json, stored

FORMAT = 2
_BEFORE: Mapping[int, Mapping[str, Any]] = {
    1: {"backend": "eager", "state_bytes": [], "decode": None, "preprocess": None},
    FORMAT: {},
}
"""The formats that are read, and what a file of each lacks."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
Key = tuple[int, int, int]
"""Start and stop of a segment, and images of a batch."""


@dataclass(frozen=True)
class _Measured:
    """Of which segment and batch an entry of the file is."""

    start: int
    stop: int
    batch: int


def _listed(entries: Mapping[Key, Latency]) -> list[dict[str, Any]]:
    return [{**as_json(_Measured(*key)), **latency.to_dict()} for key, latency in sorted(entries.items())]


def _by_segment(entries: Any) -> dict[Key, Latency]:
    found: dict[Key, Latency] = {}
    for place, entry in enumerate(checks.several(entries, "it")):
        key = astuple(from_json(_Measured, entry, f"[{place}]"))
        if key in found:
            raise CostTableError(f"entry {key} is there twice")
        found[key] = from_json(Latency, entry, f"[{place}]")
    return found


@dataclass(frozen=True)
class CostTable:
    """Latencies of the segments of one net on one machine: one device, backend, number format and threads.

    Attributes:
        device: name of the device, fit for a file name, such as "cpu".
        machine: stamp of the machine; see `machine_stamp`.
        dtype: number format that the segments ran in, such as "float32".
        threads: threads that one run used.
        input_shape: (C, H, W) of the images.
        entries: latency by (start, stop, batch size).
        backend: what ran the segments, such as "eager" or "onnxruntime".
        state_bytes: bytes that the state of one example takes after stage 1, 2, ..., K; empty if unknown.
        decode: of one image, from its file to pixels; None if it was not measured.
        preprocess: of one image, from pixels to the net's input; None if it was not measured.

    Raises:
        CostTableError: for values that no measurement gives.

    >>> table = CostTable("cpu", machine_stamp(), "float32", 1, (3, 8, 8), {
    ...     (0, 1, 1): Latency(2.0, 3.0, 4.0, repeats=50),
    ...     (0, 1, 5): Latency(6.0, 7.0, 8.0, repeats=50)})
    >>> table.latency(0, 1, batch=3)
    Latency(median_ms=4.0, p95_ms=5.0, p99_ms=6.0, repeats=50, estimated=True, low_ms=None, unstable=False)
    """

    device: str
    machine: Mapping[str, Any]
    dtype: str
    threads: int
    input_shape: tuple[int, ...]
    entries: Mapping[Key, Latency] = field(repr=False, metadata=stored(write=_listed, read=_by_segment))
    backend: str = "eager"
    state_bytes: tuple[int, ...] = ()
    decode: Latency | None = None
    preprocess: Latency | None = None
    json_form = JsonForm(CostTableError)

    def __post_init__(self) -> None:
        with checks.raised_as(CostTableError):
            checks.settle(self, "device", checks.words)
            checks.settle(self, "dtype", checks.words)
            checks.settle(self, "threads", checks.whole_number, 1)
            checks.settle(self, "input_shape", checks.whole_numbers, 1)
            checks.settle(self, "backend", checks.words)
            checks.settle(self, "state_bytes", checks.whole_numbers)
            for name in ("decode", "preprocess"):
                example = "Latency(2.0, 3.0, 4.0, repeats=50)"
                checks.settle(self, name, checks.optional, _latency, example)
            entries = {
                _key(key): checks.instance(entry, Latency, "entries", "Latency(2.0, 3.0, 4.0, repeats=50)")
                for key, entry in checks.instance(
                    self.entries, Mapping, "entries", "{(0, 1, 1): Latency(...)}"
                ).items()
            }
        object.__setattr__(self, "entries", entries)
        checks.instance(self.machine, Mapping, "machine", "machine_stamp()")
        for name, example in (("device", "cpu"), ("backend", "eager")):
            if not re.fullmatch(_NAME, getattr(self, name)):
                raise CostTableError(
                    f"{name} {getattr(self, name)!r}: a name of letters, digits, dots and dashes is needed, "
                    f"such as {example!r}"
                )
        if not self.input_shape:
            raise CostTableError("input_shape must be (C, H, W), not empty")
        if "id" not in self.machine:
            raise CostTableError("the machine stamp has no 'id'; make it with machine_stamp()")
        if not self.entries:
            raise CostTableError("a cost table needs at least one entry")
        for start, stop, batch in entries:
            if not 0 <= start < stop or batch < 1:
                raise CostTableError(
                    f"entry ({start}, {stop}, {batch}): 0 <= start < stop and a batch of 1 or more are needed"
                )
        if self.state_bytes and len(self.state_bytes) < self.num_stages:
            raise CostTableError(
                f"state_bytes holds {len(self.state_bytes)} numbers and a segment ends at stage "
                f"{self.num_stages}: one a stage is needed, or none at all"
            )

    @property
    def key(self) -> str:
        """Where and how it was measured, as a name for a file: no two tables of a bundle have the same."""
        where = [self.machine["id"], self.machine.get("accelerator") or ""]
        machine = "_".join(_fit(part) for part in where if part != "") or "unknown"
        return "-".join((machine, self.device, self.backend, str(self.threads), _fit(self.dtype)))

    @property
    def num_stages(self) -> int:
        """K: the last stage that a segment reaches."""
        return max(stop for _, stop, _ in self.entries)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes with entries, increasing."""
        return tuple(sorted({batch for _, _, batch in self.entries}))

    def latency(self, start: int, stop: int, batch: int = 1) -> Latency:
        """Latency of segment (start, stop) for `batch` images, between two known batch sizes by a line.

        Raises:
            CostTableError: for a segment without entries, or a batch size outside those known for it.
        """
        with checks.raised_as(CostTableError):
            start, stop = checks.whole_number(start, "start"), checks.whole_number(stop, "stop")
            batch = checks.whole_number(batch, "batch")
        known = sorted(b for a, z, b in self.entries if (a, z) == (start, stop))
        if not known:
            raise CostTableError(f"the table for {self.device!r} has no segment ({start}, {stop})")
        if not known[0] <= batch <= known[-1]:
            raise CostTableError(
                f"segment ({start}, {stop}) is known for batches of {known[0]} to {known[-1]}, not {batch}: "
                "profile that batch size too"
            )
        below = max(b for b in known if b <= batch)
        above = min(b for b in known if b >= batch)
        low, high = self.entries[start, stop, below], self.entries[start, stop, above]
        return low if below == above else between(low, high, (batch - below) / (above - below))

    def to_json(self) -> dict[str, Any]:
        """The table as JSON values; `from_json` reads them."""
        return {"format": FORMAT, **as_json(self)}

    @classmethod
    def from_json(cls, value: Any) -> CostTable:
        """The table that `to_json` wrote.

        Raises:
            CostTableError: if something is missing, of the wrong type, or of another format.
        """
        if isinstance(value, dict) and "format" not in value:
            raise CostTableError("not a cost table: 'format' is missing")
        form = value.get("format") if isinstance(value, dict) else None
        if type(form) is not int or form not in _BEFORE:
            raise CostTableError(
                f"a cost table is a JSON object of format 1 or {FORMAT}; profile again to get one"
            )
        return from_json(cls, {**value, **_BEFORE[form]})

    def save(self, path: Path | str) -> None:
        """Writes the table as a JSON file, atomically.

        Raises:
            CostTableError: if it cannot be written there.
        """
        file = checks.path(path, "path")
        try:
            write_json(file, self.to_json())
        except OSError as error:
            reason = error.strerror or str(error)
            raise CostTableError(f"{file} cannot be written ({reason}): choose another path") from error

    @classmethod
    def load(
        cls, path: Path | str, *, any_machine: bool = False, machine: Mapping[str, Any] | None = None
    ) -> CostTable:
        """Reads a table that was measured on this machine.

        Args:
            path: the file.
            any_machine: take it even if another machine measured it.
            machine: the stamp of this machine, if the caller knows more than `machine_stamp()` does, such
                as the accelerator.

        Raises:
            CostTableError: if the file is missing, malformed, or measured elsewhere.
        """
        file = checks.path(path, "path")
        checks.flag(any_machine, "any_machine")
        if machine is not None:
            checks.instance(machine, Mapping, "machine", "machine_stamp()")
        try:
            value = read_json(file)
        except OSError as error:
            raise CostTableError(f"no cost table can be read at {path}: {error.strerror}") from error
        except ValueError as error:  # neither UTF-8 nor JSON
            raise CostTableError(f"{path} is not JSON ({error}): profile again") from error
        try:
            table = cls.from_json(value)
        except CostTableError as error:
            raise CostTableError(f"{path}: {error}") from error
        here = machine if machine is not None else machine_stamp()
        if not any_machine and not same_machine(table.machine, here):
            raise CostTableError(
                f"{path} was measured on another machine ({_describe(table.machine)}; this is "
                f"{_describe(here)}): profile here, or pass any_machine=True to use it all the same"
            )
        return table


def _latency(value: Latency, name: str, example: str) -> Latency:
    return checks.instance(value, Latency, name, example)


def _fit(text: object) -> str:
    """`text` as part of the name of a file, whatever a forged stamp says."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", str(text))[:60].strip(".") or "_"


def _key(key: object) -> Key:
    numbers = checks.whole_numbers(key, "entries")
    if len(numbers) != 3:
        raise ValueError(f"entries must be by (start, stop, batch size), not by {numbers}")
    return numbers[0], numbers[1], numbers[2]


def _describe(machine: Mapping[str, Any]) -> str:
    cores = f"{machine['cores']} cores" if "cores" in machine else None
    known = [str(part) for part in (machine.get("cpu"), cores, machine.get("accelerator")) if part]
    return ", ".join(known) or str(machine.get("id"))
