"""A session that lies still: arrays and a path, in memory, in bytes or in a file; no pickle."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from anytimenet.core import checks
from anytimenet.core.errors import SessionError
from anytimenet.core.files.writing import write_bytes
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.records import as_json
from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.paths import SegmentPath

FORMAT = 1
_HEADER = "anytimenet-session"


@dataclass(frozen=True, eq=False)
class SavedSession:
    """What `Session.save` gives and `Session.restore` takes.

    Attributes:
        net: what tells the net from others, see `fingerprint`.
        x: standardised inputs, `(N, C, H, W)`.
        at: the stage of the state, 0 where none was held.
        tensors: the state, by name.
        path: the segments that had run.
        left: those of a path that was paused.
        outputs: of each finished stage.
        times_ms: milliseconds of its segment, and from the begin to its answer, of each finished stage.
        elapsed_ms: milliseconds that the session had lasted; the clock stands still while it is saved.
    """

    net: str
    x: np.ndarray
    at: int
    tensors: Mapping[str, np.ndarray]
    path: SegmentPath
    left: SegmentPath
    outputs: Mapping[int, Output]
    times_ms: Mapping[int, tuple[float, float]]
    elapsed_ms: float

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self._arrays().values())

    def to_bytes(self) -> bytes:
        """As the content of a safetensors file."""
        header = {
            "format": FORMAT,
            "net": self.net,
            "at": self.at,
            "path": self.path,
            "left": self.left,
            "levels": {stage: len(output) for stage, output in self.outputs.items()},
            "times_ms": dict(self.times_ms),
            "elapsed_ms": self.elapsed_ms,
        }
        told = {_HEADER: json.dumps(header, allow_nan=False)}
        return bytes(safetensors.numpy.save(self._arrays(), told))

    @classmethod
    def from_bytes(cls, data: bytes) -> SavedSession:
        """The session whose `to_bytes` gave `data`.

        Raises:
            SessionError: if it is no saved session, of another format, or damaged.
        """
        try:
            arrays = safetensors.numpy.load(data)
            header = json.loads(_metadata(data)[_HEADER])
            if header["format"] != FORMAT:
                raise SessionError(
                    f"this session is of format {header['format']}, and this anytimenet reads {FORMAT}"
                )
            return cls(
                net=checks.words(header["net"], "net"),
                x=arrays.pop("x"),
                at=checks.whole_number(header["at"], "at"),
                outputs={
                    int(stage): tuple(arrays.pop(f"output/{stage}/{i}") for i in range(levels))
                    for stage, levels in header["levels"].items()
                },
                tensors={name.removeprefix("state/"): array for name, array in arrays.items()},
                path=_path(header["path"]),
                left=_path(header["left"]),
                times_ms={int(stage): (float(a), float(b)) for stage, (a, b) in header["times_ms"].items()},
                elapsed_ms=checks.number(header["elapsed_ms"], "elapsed_ms", 0),
            )._agreeing()
        except SessionError:
            raise
        except (safetensors.SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SessionError(f"this is no saved session, or it is damaged ({error})") from error

    def write(self, path: pathlib.Path | str) -> None:
        """Writes a safetensors file, atomically.

        Raises:
            OSError: if it cannot be written there.
        """
        write_bytes(checks.path(path, "path"), self.to_bytes())

    @classmethod
    def read(cls, path: pathlib.Path | str) -> SavedSession:
        """What `write` wrote.

        Raises:
            OSError: if the file cannot be read.
            SessionError: as `from_bytes` does.
        """
        return cls.from_bytes(checks.path(path, "path").read_bytes())

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {"x": self.x} | {f"state/{name}": array for name, array in self.tensors.items()}
        for stage, output in self.outputs.items():
            found |= {f"output/{stage}/{level}": logits for level, logits in enumerate(output)}
        return {name: np.ascontiguousarray(array) for name, array in found.items()}

    def check(self, manifest: Manifest) -> None:
        """Raises ValueError unless its parts fit together, and its answers can be those of such a net."""
        self._agreeing()
        sizes = tuple(len(names) for names in manifest.class_names)
        for stage, output in self.outputs.items():
            found = tuple(level.shape[1] if level.ndim > 1 else 0 for level in output)
            if stage > manifest.num_stages or found != sizes:
                shapes = [level.shape for level in output]
                raise ValueError(
                    f"the answer of stage {stage} has shapes {shapes}, and the net {manifest.num_stages} "
                    f"stages and {sizes} classes"
                )

    def _agreeing(self) -> SavedSession:
        """Itself, if its parts fit together."""
        stages = [stop for _, stop in self.path]
        # A run that was stopped may have gone further than what answered.
        answered = set(self.outputs)
        if stages != sorted(set(stages)) or not set(stages) >= answered == set(self.times_ms):
            raise ValueError(f"path {self.path} and outputs of stages {sorted(self.outputs)} do not agree")
        if self.at not in (0, *stages[-1:]) or bool(self.at) != bool(self.tensors):
            raise ValueError(f"a state of stage {self.at} after path {self.path}")
        if self.x.ndim != 4 or self.x.dtype != np.float32:
            raise ValueError(f"an input of {self.x.dtype} {self.x.shape}")
        shapes = {name: array.shape for name, array in self._arrays().items()}
        if len({shape[:1] for shape in shapes.values()}) > 1:
            raise ValueError(f"arrays that are not of one batch: {shapes}")
        return self


def fingerprint(manifest: Manifest) -> str:
    """Tells a net from others, and from itself with other weights where those were validated.

    The bundle of a net, what was exported from it, and copies of both have the same.
    """
    told = {
        "net": as_json(manifest.net),
        "class_names": manifest.class_names,
        "input_shape": manifest.input_shape,
        "preprocessing": as_json(manifest.preprocessing),
        "stages": [as_json(record) for record in manifest.stages],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _metadata(data: bytes) -> dict[str, str]:
    """What a safetensors file tells beside its tensors; `safetensors.numpy.load` has checked the header."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return found


def _path(value: Any) -> SegmentPath:
    pairs = [checks.whole_numbers(pair, "path") for pair in checks.several(value, "path")]
    if any(len(pair) != 2 or pair[0] >= pair[1] for pair in pairs):
        raise ValueError(f"path {value} is no list of segments")
    return tuple((start, stop) for start, stop in pairs)
