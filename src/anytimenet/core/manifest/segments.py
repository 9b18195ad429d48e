"""The segments of a bundle's net: one JSON file, for planners, exporters and engines that have no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import BundleError
from anytimenet.core.files.regular import parse_json
from anytimenet.core.manifest.folder import AGAIN, IN_BUNDLE, LARGEST_JSON, read_listed
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.records import Record
from anytimenet.core.segments import SegmentSpec

SEGMENTS_NAME = "segments.json"
"""The file of a bundle that holds them."""

FORMAT = 1


@dataclass(frozen=True)
class _File(Record):
    """What the file holds."""

    segments: tuple[SegmentSpec, ...]
    format: int = FORMAT
    json_form = IN_BUNDLE

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise BundleError(f"{SEGMENTS_NAME} is of format {self.format}, not {FORMAT}: upgrade anytimenet")


def pack_segments(specs: Sequence[SegmentSpec]) -> tuple[str, bytes]:
    """The name and content of the file."""
    return SEGMENTS_NAME, (json.dumps(_File(tuple(specs)).to_dict(), separators=(",", ":")) + "\n").encode()


def unpack_segments(content: bytes) -> tuple[SegmentSpec, ...]:
    """What `pack_segments` packed.

    Raises:
        BundleError, TypeError, ValueError: for something else.
    """
    return _File.from_dict(parse_json(content)).segments


def read_segments(folder: Path, manifest: Manifest) -> tuple[SegmentSpec, ...] | None:
    """Every segment (a, b) of the net in `folder`, by a, then b; None in a bundle of an earlier version.

    Raises:
        BundleError: if the file is missing, damaged, tampered with or of a newer format.
    """
    record = manifest.files.get(SEGMENTS_NAME)
    if record is None:
        return None
    file = folder / SEGMENTS_NAME
    if record.bytes > LARGEST_JSON:
        raise BundleError(f"{file} is listed with {record.bytes} bytes: no list of segments is so large")
    try:
        found = unpack_segments(read_listed(folder, SEGMENTS_NAME, record))
    except BundleError as error:
        raise BundleError(f"{file}: {error}") from error
    except (TypeError, ValueError) as error:
        raise BundleError(f"{file} is no list of segments ({error}): {AGAIN}") from error
    stages = range(manifest.num_stages)
    if [(spec.start, spec.stop) for spec in found] != [(a, b + 1) for a in stages for b in stages if a <= b]:
        raise BundleError(f"{file} does not list the segments of {manifest.num_stages} stages: {AGAIN}")
    return found
