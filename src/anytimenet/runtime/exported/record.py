"""What `manifest.json` says of an exported folder, format 1.

```json
{
  "format": "anytimenet-export", "format_version": 1,
  "kind": "onnx", "dtype": "float32", "opset": 20,
  "net": {"...": "the manifest of the bundle: labels, preprocessing, accuracies, thresholds"},
  "weights": [["model-00001-of-00002.safetensors"], ["model-00002-of-00002.safetensors"]],
  "segments": [{"spec": {"start": 0, "stop": 1, "...": "..."}, "files": ["segment-0-1.onnx"]}],
  "files": {"segment-0-1.onnx": {"sha256": "...", "bytes": 8123}},
  "about": {"anytimenet": "0.1.0"}, "digest": "..."
}
```

Weights lie in files by stage, as a bundle's shards do: segments to stage k read the weight files of stages
1..k and no more, so that the first files are a smaller net.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import BundleError
from anytimenet.core.files.regular import check_regular, read_json
from anytimenet.core.files.writing import write_text
from anytimenet.core.manifest.folder import LARGEST_JSON, MANIFEST_NAME, FileRecord, check_file_name
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.tables import is_table
from anytimenet.core.manifest.versions import digest_of
from anytimenet.core.records import JsonForm, Record, stored
from anytimenet.core.segments import SegmentSpec

EXPORT_NAME = "manifest.json"
FORMAT = "anytimenet-export"
FORMAT_VERSION = 1
AGAIN = "download or export it again"

_ABOUT_ITSELF = ("format", "format_version", "digest")
_IN_EXPORT = JsonForm(error=BundleError, cure=AGAIN, strict=True)


@dataclass(frozen=True)
class SegmentFiles(Record):
    """One exported segment.

    Attributes:
        spec: what it reads, gives and costs.
        files: by which it is run, the one to open first; what engines need beside the weights.

    Raises:
        BundleError: for a file name that leaves the folder, or no file.
    """

    spec: SegmentSpec
    files: tuple[str, ...]
    json_form = _IN_EXPORT

    def __post_init__(self) -> None:
        if not self.files:
            raise BundleError(f"segment {self.pair} has no file")
        for name in self.files:
            check_file_name(name)

    @property
    def pair(self) -> tuple[int, int]:
        """(start, stop)."""
        return self.spec.start, self.spec.stop


@dataclass(frozen=True)
class ExportRecord(Record):
    """The content of `manifest.json`.

    Attributes:
        kind: what the segment files are: "onnx", "openvino", "torch".
        net: the manifest of the bundle that was exported; it lists no files.
        segments: those that were exported, by start, then stop.
        weights: for each stage 1..K the files with the weights that it adds.
        files: size and hash of every file by its path in the folder, cost tables included.
        dtype: number format of weights and states.
        opset: of the ONNX operators; None for other kinds.
        about: what wrote it. Any JSON object.

    Raises:
        BundleError: if a field is malformed, or two of them contradict each other.
    """

    kind: str
    net: Manifest = field(metadata=stored(write=Manifest.to_dict, read=Manifest.from_dict))
    segments: tuple[SegmentFiles, ...]
    weights: tuple[tuple[str, ...], ...]
    files: dict[str, FileRecord] = field(default_factory=dict)
    dtype: str = "float32"
    opset: int | None = None
    about: dict[str, Any] = field(default_factory=dict)
    json_form = _IN_EXPORT

    def __post_init__(self) -> None:
        with checks.raised_as(BundleError, kinds_too=True):
            checks.settle(self, "kind", checks.words)
            checks.settle(self, "dtype", checks.words)
            checks.settle(self, "opset", checks.optional, checks.whole_number, 1)
            checks.settle(self, "about", checks.json_values)
        stages, pairs = self.net.num_stages, [segment.pair for segment in self.segments]
        if len(self.weights) != stages:
            raise BundleError(f"weights: {len(self.weights)} lists of files for {stages} stages")
        if not pairs or pairs != sorted(set(pairs)) or max(stop for _, stop in pairs) > stages:
            raise BundleError(f"segments {pairs}: each once, in order, and up to stage {stages}, are needed")
        for name in (*self.files, *(name for names in self.weights for name in names)):
            check_file_name(name)
        object.__setattr__(self, "files", dict(sorted(self.files.items())))

    def needed(self, stages: int) -> tuple[str, ...]:
        """The files that stages 1..`stages` need, weights first; cost tables are not among them."""
        weights = [name for names in self.weights[:stages] for name in names]
        own = [name for one in self.segments if one.spec.stop <= stages for name in one.files]
        return tuple(dict.fromkeys((*weights, *own)))

    @property
    def tables(self) -> tuple[str, ...]:
        """The files that are cost tables."""
        return tuple(filter(is_table, self.files))

    @property
    def without_tables(self) -> dict[str, FileRecord]:
        """The files that are no cost tables: what makes this net this net."""
        return {name: record for name, record in self.files.items() if not is_table(name)}

    def keep_first(self, stages: int) -> ExportRecord:
        """The record of the first stages alone."""
        if stages == self.net.num_stages:
            return self
        return replace(
            self,
            net=self.net.keep(range(1, stages + 1)),
            segments=tuple(one for one in self.segments if one.spec.stop <= stages),
            weights=self.weights[:stages],
        )

    def write(self, folder: Path) -> None:
        """Writes `manifest.json` into `folder`."""
        value = {"format": FORMAT, "format_version": FORMAT_VERSION, **self.to_dict()}
        plain = json.loads(json.dumps(value, allow_nan=False))
        whole = {**plain, "digest": digest_of(plain)}
        # For machines: indented, the shapes of a hundred states take more than the weights of a small net.
        write_text(folder / EXPORT_NAME, json.dumps(whole, separators=(",", ":"), ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """The record of the folder.

        Raises:
            BundleError: if there is none, or it is damaged, tampered with or of a newer format.
        """
        file = folder / EXPORT_NAME
        try:
            check_regular(file, LARGEST_JSON)
            return cls._of(read_json(file, LARGEST_JSON))
        except FileNotFoundError:
            if (folder / MANIFEST_NAME).is_file():
                raise BundleError(
                    f"{folder} holds a bundle, which anytimenet.load reads; `anytimenet export` makes an "
                    "exported net of it"
                ) from None
            raise BundleError(
                f"{folder} is no exported net, for it holds no {EXPORT_NAME}: give the folder that "
                "`anytimenet export` wrote"
            ) from None
        except BundleError as error:
            raise BundleError(f"{file}: {error}") from error
        except OSError as error:
            raise BundleError(f"{file} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise BundleError(f"{file} is not JSON ({error}): {AGAIN}") from error

    @classmethod
    def _of(cls, value: Any) -> ExportRecord:
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise BundleError(f'not written by anytimenet export ("format" is not "{FORMAT}")')
        if value.get("format_version") != FORMAT_VERSION:
            raise BundleError(
                f"format version {checks.shown(value.get('format_version'))} is not {FORMAT_VERSION}, the "
                "one that this anytimenet reads: upgrade anytimenet, or export again"
            )
        if value.get("digest") != digest_of(value):
            raise BundleError(f"its digest does not match: it was changed or damaged; {AGAIN}")
        own = {
            name: item for name, item in value.items() if name not in ("format", "format_version", "digest")
        }
        return cls.from_dict(own)


def in_words(pair: Sequence[int]) -> str:
    """A segment as the command line takes it.

    >>> in_words((1, 3))
    '1-3'
    """
    return "-".join(map(str, pair))
