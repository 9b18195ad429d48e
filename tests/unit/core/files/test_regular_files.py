"""Whatever opens a file that somebody names opens regular files only, and no more of them than a limit."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from anytimenet.core.errors import AnytimeNetError, DataError
from anytimenet.core.files.regular import check_regular, open_regular, parse_json, read_json, read_regular
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import find_bundle, read_listed, record_of
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.data.reading.cache import read_cache
from anytimenet.data.sets.taxonomies import read_mapping, read_taxonomy, settled_source
from anytimenet.data.sources.mask_files import read_mask_classes
from anytimenet.data.sources.named import inflating
from anytimenet.data.sources.named.inflating import inflated, members
from anytimenet.evaluation import read_report
from anytimenet.evaluation.protocols.outputs import read_outputs
from anytimenet.training.checkpoints import Checkpoint

OPENERS = {
    "open": open_regular,
    "read": read_regular,
    "json": read_json,
    "taxonomy": read_mapping,
    "own taxonomy": lambda path: read_taxonomy(path, ("a", "b")),
    "taxonomy by name": settled_source,
    "mask classes": read_mask_classes,
    "report": read_report,
    "outputs": read_outputs,
    "checkpoint": Checkpoint.load,
    "cost table": CostTable.load,
    "bundle": lambda path: Manifest.read(path.parent),
    "bundle's file": lambda path: read_listed(path.parent, path.name, record_of(b"")),
    "gzip": inflated,
    "tar": lambda path: members(path, ["x"]),
}


@pytest.mark.parametrize("opener", OPENERS)
def test_nothing_waits_for_a_pipe(tmp_path, opener):
    path = tmp_path / "bundle.json"
    os.mkfifo(path)
    with pytest.raises((AnytimeNetError, OSError)):
        OPENERS[opener](path)


@pytest.mark.parametrize("opener", OPENERS)
def test_nothing_reads_a_device(tmp_path, opener):
    path = tmp_path / "bundle.json"
    path.symlink_to("/dev/zero")
    with pytest.raises((AnytimeNetError, OSError)):
        OPENERS[opener](path)


def test_a_cache_that_is_a_pipe_is_no_cache(tmp_path):
    os.mkfifo(tmp_path / "cache")
    assert read_cache(tmp_path / "cache", "key") is None


def test_no_more_than_the_limit_is_read(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    assert check_regular(path) == 5
    with pytest.raises(OSError, match="more than the 4 allowed"):
        read_regular(path, 4)
    assert read_regular("/proc/self/status") == b""  # made up while it is read, and of no size


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "9" * 10_000, "{", b"\xff"])
def test_what_is_wrong_with_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("content", ["[" * 200_000, "9" * 10_000])
@pytest.mark.parametrize("opener", ["taxonomy", "mask classes", "report", "cost table", "bundle"])
def test_json_that_is_too_deep_or_too_long_is_named(tmp_path, opener, content):
    path = tmp_path / "bundle.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"bundle\.json"):
        OPENERS[opener](path)


def test_outputs_with_deep_json_are_refused(tmp_path):
    about = {"format": "anytimenet-outputs", "version": "1", "about": "[" * 200_000}
    path = tmp_path / "outputs.safetensors"
    path.write_bytes(safetensors.numpy.save({"labels": np.zeros((1, 1), np.int64)}, metadata=about))
    with pytest.raises(DataError, match="write it again"):
        read_outputs(path)


# --- archives -------------------------------------------------------------------------------------------


def tar_of(path: Path, *files: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in files:
            tar.addfile(info, io.BytesIO(content))
    return path


def info(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    return found


def test_gzip_that_unfolds_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inflating, "MOST_BYTES", 2**16)
    for size, fits in ((2**16, True), (2**16 + 1, False)):
        path = tmp_path / "images.gz"
        path.write_bytes(gzip.compress(bytes(size)))
        if fits:
            assert inflated(path) == bytes(size)
        else:
            with pytest.raises(DataError, match="unfolds to more than 65,536 bytes"):
                inflated(path)


def test_tar_that_unfolds_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inflating, "_MOST_IN_ARCHIVE", 2**18)
    assert members(tar_of(tmp_path / "a", (info("d/x", 3), b"abc")), ["d/x"]) == {"d/x": b"abc"}
    large = tar_of(tmp_path / "b", (info("other", 2**19), bytes(2**19)), (info("d/x", 3), b"abc"))
    with pytest.raises(DataError, match="unfolds to more than"):
        members(large, ["d/x"])
    many = tar_of(tmp_path / "c", *[(info(f"d/{i}", 0), b"") for i in range(2000)])
    monkeypatch.setattr(inflating, "_MOST_IN_ARCHIVE", 2**29)
    with pytest.raises(DataError, match="more than 1000 files"):
        members(many, ["d/x"])


def test_a_member_of_holes_is_not_filled_with_zeros(tmp_path):
    holes = info("d/x", 0)
    holes.type = tarfile.GNUTYPE_SPARSE
    assert members(tar_of(tmp_path / "a", (holes, b"")), ["d/x"]) == {}


def test_a_name_without_end_is_refused(tmp_path):
    name = info("././@LongLink", 2**40)
    name.type = tarfile.GNUTYPE_LONGNAME
    block = name.tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(block + bytes(1024)))
    with pytest.raises((DataError, tarfile.TarError)):
        members(path, ["d/x"])


def test_find_bundle_knows_a_folder_only(tmp_path):
    os.mkfifo(tmp_path / "bundle.json")
    with pytest.raises(AnytimeNetError, match="not a bundle"):
        find_bundle(tmp_path)
    (tmp_path / "x.json").write_text(json.dumps({}))
    assert read_json(tmp_path / "x.json") == {}
