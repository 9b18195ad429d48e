"""`segments.json`: what every segment of a bundle's net reads, gives and costs, read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import anytimenet as an
from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.folder import record_of
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.segments import SEGMENTS_NAME, read_segments
from anytimenet.core.segments import TensorSpec

OLDER = [path for path in sorted((Path(__file__).parents[2] / "data").glob("bundle-v*")) if path.is_dir()]


@pytest.fixture
def folder(tmp_path):
    net = an.create_net("isresnext_tiny", 2, in_channels=1)
    grey = an.Preprocessing(8, 8, 1, mean=(0.5,), std=(0.5,))
    bundle = an.Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=grey)
    return bundle.save(tmp_path / "bundle")


def test_a_saved_bundle_tells_its_segments(folder):
    specs = read_segments(folder, Manifest.read(folder))
    assert specs == an.load(folder).segment_specs()
    assert specs is not None
    assert specs[0].reads == (TensorSpec("x", (1, 8, 8)),)
    assert specs[0].outputs == (TensorSpec("level1", (2,)),)


def test_the_segments_are_read_without_torch(folder):
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\n"
            "from anytimenet.core.manifest.manifest import Manifest\n"
            "from anytimenet.core.manifest.segments import read_segments\n"
            f"folder = pathlib.Path({str(folder)!r})\n"
            "print(len(read_segments(folder, Manifest.read(folder))), 'torch' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["6", "False"]


def test_a_smaller_bundle_tells_its_own_segments(folder, tmp_path):
    small = an.load(folder, stages=2).save(tmp_path / "small")
    specs = read_segments(small, Manifest.read(small))
    assert specs is not None
    assert [(spec.start, spec.stop) for spec in specs] == [(0, 1), (0, 2), (1, 2)]
    assert specs[-1].state_bytes == 0


@pytest.mark.parametrize("older", OLDER, ids=lambda path: path.name)
def test_a_bundle_of_before_has_no_segments_file(older):
    assert read_segments(older, Manifest.read(older)) is None


def rewritten(folder, content):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / SEGMENTS_NAME).write_bytes(data)
    manifest = Manifest.read(folder)
    return replace(manifest, files={**manifest.files, SEGMENTS_NAME: record_of(data)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no list of segments"),
        ({"format": 2, "segments": []}, "segments.json is of format 2, not 1: upgrade anytimenet"),
        ({"format": 1, "segments": []}, "does not list the segments of 3 stages"),
        ({"format": 1, "segments": [{"start": 0}]}, r"segments\[0\] has wrong fields"),
        ([], "must be"),
    ],
)
def test_a_file_that_lists_no_segments_is_refused(folder, content, message):
    with pytest.raises(BundleError, match=message):
        read_segments(folder, rewritten(folder, content))


def test_a_file_that_was_changed_is_refused(folder):
    manifest = Manifest.read(folder)
    file = folder / SEGMENTS_NAME
    file.write_bytes(file.read_bytes().replace(b'"macs":1', b'"macs":2', 1))
    with pytest.raises(BundleError, match="is not the file that"):
        read_segments(folder, manifest)
