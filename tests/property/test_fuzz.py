"""Files that are damaged or made up are refused by name, or change nothing: 500 of each kind.

A change that nobody hid (no digest made to fit) is never read as something else. One that somebody did hide
is refused with an error for people, or is a valid file of that kind. Nothing is a raw error of Python's.
"""

import copy
import hashlib
import io
import json
import math
import random
import resource
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anytimenet.bundle import Bundle
from anytimenet.core.errors import AnytimeNetError, BundleError, CostTableError, DataError, TrainingError
from anytimenet.core.images.decoding import open_image
from anytimenet.core.images.formats import IMAGE_FORMATS
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.folder import read_listed
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.data.reading.cache import read_cache, write_cache
from anytimenet.data.reading.decoding import Decoded
from anytimenet.data.sets.taxonomies import read_taxonomy
from anytimenet.data.sources.mask_files import read_mask_classes
from anytimenet.evaluation import Report, SegmentationReport
from anytimenet.nets import create_net
from anytimenet.training.checkpoints import Checkpoint

COUNT = 500
AT_454E083 = Path(__file__).parents[1] / "data" / "at_454e083"
ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2**31, 2**63, 10**30, 0.5, 1e308, math.nan, math.inf, "", "a", "\ud800"),
    *("../../x", "/etc/passwd", "x" * 5000, "\x00", "\x1b[2J", [], {}, [[]], [None], {"a": 1}, [1, "a"]),
)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three accidents."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 9))
        elif kind == 3:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 4:
            data[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        elif kind == 5:
            data[at:at] = data[max(0, at - 50) : at]
        elif data:
            data[at % len(data)] = rng.randrange(256)
    return bytes(data)


def edited(value: Any, rng: random.Random) -> Any:
    """The JSON value with one to three entries changed, left out or added."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(value))
        if not places:
            break
        inside, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 0:
            del inside[key]
        elif kind == 1 and isinstance(inside, dict):
            inside[rng.choice(("extra", "format", "stage"))] = copy.deepcopy(rng.choice(ODD))
        elif kind == 2 and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        elif kind == 3 and isinstance(inside[key], int | float) and not isinstance(inside[key], bool):
            inside[key] = rng.choice((-inside[key], inside[key] + 1, inside[key] * 1000, float(inside[key])))
        else:
            inside[key] = copy.deepcopy(rng.choice(ODD))
    return value


def _places(value: Any):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def text_of(value: Any) -> str:
    """JSON as Python writes it, with NaN and half characters too."""
    return json.dumps(value)


def draws(name: str) -> list[random.Random]:
    return [random.Random(f"{name} {number}") for number in range(COUNT)]


# --- images ---------------------------------------------------------------------------------------------


def pictures(name: str) -> list[bytes]:
    pixels = np.random.default_rng(3).integers(0, 256, (12, 10, 4), dtype=np.uint8)
    variants: list[tuple[str, dict[str, Any]]] = [("RGB", {}), ("L", {})]
    exif = Image.Exif()
    exif[0x0112] = 6
    of_format: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "PNG": [("RGBA", {}), ("P", {"exif": exif}), ("I;16", {})],
        "JPEG": [("RGB", {"progressive": True, "exif": exif}), ("CMYK", {"comment": b"hello"})],
        "GIF": [("P", {"interlace": 1, "comment": b"hello"})],
        "WEBP": [("RGBA", {"lossless": True}), ("RGB", {"exif": exif})],
        "TIFF": [("RGB", {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")],
        "BMP": [("P", {})],
        "PPM": [("1", {})],
    }
    variants += of_format[name]
    found = []
    for mode, options in variants:
        image = Image.fromarray(pixels)
        image = (
            Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
        )
        file = io.BytesIO()
        image.save(file, name, **options)
        found.append(file.getvalue())
    return found


@pytest.mark.parametrize("name", IMAGE_FORMATS)
def test_damaged_images_are_refused_or_read_in_little_memory(tmp_path, name):
    sources, path = pictures(name), tmp_path / "image"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reasons: list[str] = []
    for rng in draws(f"image {name}")[: COUNT // len(IMAGE_FORMATS) + 1]:
        path.write_bytes(damaged(rng.choice(sources), rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pillow's, about metadata
                image = open_image(path)
                Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3, shorter_side=9).decode(path)
        except DataError as error:
            reasons.append(str(error))
        else:
            assert image.mode in ("L", "RGB")
    assert all(str(path) in reason or "too long and thin" in reason for reason in reasons)
    assert 0 < len(reasons) < COUNT // len(IMAGE_FORMATS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


# --- bundles --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    preprocessing = Preprocessing(8, 8, 1, (0.5,), (0.25,))
    made = Bundle.create(
        create_net("isresnext_tiny", 2, in_channels=1), class_names=(("a", "b"),), preprocessing=preprocessing
    )
    made.add_cost_table(table())
    folder: Path = tmp_path_factory.mktemp("bundle") / "bundle"
    made.save(folder)
    return folder


def table() -> CostTable:
    entries = {(0, 1, 1): Latency(1.0, 2.0, 3.0, 5), (1, 2, 1): Latency(1.0, 2.0, 3.0, 5, estimated=True)}
    return CostTable("cpu", machine_stamp(), "float32", 1, (1, 8, 8), entries)


def content_of(bundle: Bundle) -> tuple[Any, ...]:
    manifest = bundle.manifest.to_dict()
    weights = [(name, tensor.numpy().tobytes()) for name, tensor in bundle.net.state_dict().items()]
    return manifest, weights


def test_damage_in_a_bundle_is_found_or_changes_nothing(bundle, tmp_path):
    whole, manifest = content_of(Bundle.load(bundle)), Manifest.read(bundle)
    true = {name: (bundle / name).read_bytes() for name in manifest.files}
    folder = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    reasons: list[tuple[str, str]] = []
    for number, rng in enumerate(draws("bundle")):
        name = rng.choice(["bundle.json", *manifest.files])
        (folder / name).write_bytes(damaged((bundle / name).read_bytes(), rng))
        try:
            found = Manifest.read(folder)
            contents = {name: read_listed(folder, name, record) for name, record in found.files.items()}
            if number % 10 == 0:  # all that loading reads was read above
                assert content_of(Bundle.load(folder)) == whole
        except BundleError as error:
            reasons.append((name, str(error)))
        else:
            assert (found, contents) == (manifest, true)
        shutil.copyfile(bundle / name, folder / name)
    assert len(reasons) > COUNT / 2
    assert all(str(folder) in reason or name in reason for name, reason in reasons)


def with_digest(manifest: Any) -> Any:
    if isinstance(manifest, dict):
        rest = {key: value for key, value in manifest.items() if key != "digest"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
        manifest = {**rest, "digest": hashlib.sha256(text.encode()).hexdigest()}
    return manifest


def test_made_up_manifests_are_refused_or_valid(bundle, tmp_path):
    true = json.loads((bundle / "bundle.json").read_text())
    folder = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    for number, rng in enumerate(draws("manifest")):
        value = with_digest(edited(true, rng))
        (folder / "bundle.json").write_text(text_of(value))
        try:
            manifest = Manifest.read(folder)
            if number % 10 == 0:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    Bundle.load(folder).predict(np.zeros((8, 8), np.uint8))
        except AnytimeNetError:
            continue
        assert Manifest.from_dict(manifest.to_dict()) == manifest


# --- checkpoints, caches --------------------------------------------------------------------------------


def test_damage_in_a_checkpoint_is_found(tmp_path):
    path = tmp_path / "last.safetensors"
    progress = {"best": {"epoch": 1, "score": 0.5, "val": [0.5]}, "history": [], "losses": {"1": [0.5, 2]}}
    whole = Checkpoint(1, 2, {"net": "x"}, progress, {"net.a": torch.arange(6.0), "rng.b": torch.arange(3)})
    whole.save(path)
    content, reasons = path.read_bytes(), []
    for rng in draws("checkpoint"):
        path.write_bytes(damaged(content, rng))
        try:
            found = Checkpoint.load(path)
        except TrainingError as error:
            reasons.append(str(error))
            continue
        assert (found.epoch, found.batch, found.run, found.progress) == (1, 2, {"net": "x"}, progress)
        assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
            name: tensor.tolist() for name, tensor in whole.tensors.items()
        }
    assert all(str(path) in reason for reason in reasons)


def test_damage_in_a_cache_is_found(tmp_path):
    path, whole = tmp_path / "cache.safetensors", np.arange(48, dtype=np.uint8).reshape(3, 4, 4, 1)
    write_cache(path, "key", Decoded(whole, np.array([0, 1, 3]), (("x.png", "damaged"),)))
    content = path.read_bytes()
    assert read_cache(path, "key") is not None
    for rng in draws("cache"):
        path.write_bytes(damaged(content, rng))
        found = read_cache(path, "key")
        if found is not None:
            assert np.array_equal(found.images, whole)
            assert (found.good.tolist(), found.bad) == ([0, 1, 3], (("x.png", "damaged"),))


# --- tables, classes, reports ---------------------------------------------------------------------------


def test_made_up_cost_tables_are_refused_or_valid():
    true = table().to_json()
    for rng in draws("table"):
        try:
            found = CostTable.from_json(json.loads(text_of(edited(true, rng))))
        except CostTableError:
            continue
        assert CostTable.from_json(found.to_json()) == found


def classes_of(path: Path) -> None:
    found = read_mask_classes(path)[0]
    assert type(found).from_dict(found.to_dict()) == found


def taxonomy_of(path: Path) -> None:
    found = read_taxonomy(path, ("cat", "dog", "oak"))
    assert found is not None
    assert type(found).from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    ("read", "true"),
    [
        (
            classes_of,
            {"class_names": ["road", "sky"], "ignore_index": 255, "palette": [[1, 2, 3], [4, 5, 6]]},
        ),
        (taxonomy_of, {"cat": ["animal", "thing"], "dog": ["animal", "thing"], "oak": ["plant", "thing"]}),
    ],
)
def test_made_up_class_files_are_refused_or_valid(tmp_path, read: Callable[[Path], None], true):
    path, reasons = tmp_path / "classes.json", []
    for rng in draws(read.__name__):
        text = text_of(edited(true, rng)).encode()
        path.write_bytes(damaged(text, rng) if rng.randrange(3) == 0 else text)
        try:
            read(path)
        except DataError as error:
            reasons.append(str(error))
    assert all(str(path) in reason for reason in reasons)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Report, "report.json"),
        (Report, "report-levels.json"),
        (SegmentationReport, "report-segmentation.json"),
    ],
)
def test_made_up_reports_are_refused_or_valid(kind, name):
    true = json.loads((AT_454E083 / name).read_text())
    for rng in draws(name):
        try:
            found = kind.from_dict(json.loads(text_of(edited(true, rng))))
        except ValueError:
            continue
        found.table()
        json.dumps(found.to_dict(), allow_nan=False)
