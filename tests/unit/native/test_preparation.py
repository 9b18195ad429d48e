"""Images that the native engine prepares: the same bits as `core.images`, and no memory but its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.examples import examples

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import DataError
from anytimenet.core.images.containers import MOST_PIXELS
from anytimenet.core.images.decoding import RESAMPLE
from anytimenet.export import export
from anytimenet.native import library
from anytimenet.native.preparation import fields_of, prepare
from anytimenet.runtime import ExportedNet

if not library.is_there():
    pytest.skip("no engine", allow_module_level=True)
if int(PIL.__version__.split(".")[0]) < 13:
    pytest.skip(
        "the engine resizes as Pillow 13 does, which takes the height first where it shrinks most",
        allow_module_level=True,
    )

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNUSABLE, TOO_LARGE = -1, -2


def plain(
    height: int, width: int, channels: int = 3, resample: str = "bilinear", shorter: int | None = None
) -> Preprocessing:
    return Preprocessing(height, width, channels, MEAN[:channels], STD[:channels], resample, shorter)


def check_equal(pixels: np.ndarray, preprocessing: Preprocessing) -> None:
    wanted = preprocessing.standardise(preprocessing.decode(pixels)[None])
    found = prepare(pixels, preprocessing)
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted), np.abs(found - wanted).max()


sides = st.one_of(st.integers(1, 9), st.integers(1, 90))


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    """Noise, steps of black and white, or slopes; grey, RGB or with transparency."""
    height, width, channels = draw(sides), draw(sides), draw(st.sampled_from((0, 1, 3, 4)))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (height, width, channels) if channels else (height, width)
    kind = draw(st.sampled_from(("noise", "extremes", "slopes")))
    if kind == "noise":
        return noise.integers(0, 256, shape, np.uint8)
    if kind == "extremes":
        return (255 * noise.integers(0, 2, shape)).astype(np.uint8)
    rows, columns = np.mgrid[:height, :width]
    slope = (3 * rows + 5 * columns) % 256
    return np.broadcast_to(slope.reshape(height, width, *[1] * bool(channels)), shape).astype(np.uint8)


@st.composite
def settings_of_images(draw: st.DrawFn) -> Preprocessing:
    height, width = draw(sides), draw(sides)
    longer = max(height, width)
    shorter = draw(st.one_of(st.none(), st.integers(longer, longer + 30)))
    return plain(height, width, draw(st.sampled_from((1, 3))), draw(st.sampled_from(RESAMPLE)), shorter)


@examples(100)
@given(images(), settings_of_images())
def test_numbers_are_those_of_pillow_bit_for_bit(pixels, preprocessing):
    check_equal(pixels, preprocessing)


@examples(20)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 6), st.integers(0, 9), st.sampled_from((1, 3, 4)))
def test_boxes_at_an_integer_factor_are_exact_means(height, width, factor, beyond, channels):
    draw = np.random.default_rng(beyond)
    pixels = draw.integers(0, 256, (height * factor, width * factor + beyond, channels), np.uint8)
    check_equal(pixels, plain(height, width, 3, "box"))
    check_equal(np.ascontiguousarray(pixels.swapaxes(0, 1)), plain(width, height, 1, "box"))


def test_every_value_is_laid_over_white_and_made_grey_as_pillow_does():
    value, alpha = np.mgrid[:256, :256].astype(np.uint8)
    pixels = np.stack([value, value[::-1], np.roll(value, 77, 0), alpha], -1)
    check_equal(pixels, plain(256, 256, 3))
    check_equal(pixels, plain(256, 256, 1))


@pytest.mark.parametrize("resample", RESAMPLE)
def test_sizes_of_cameras_and_of_nets(resample):
    draw = np.random.default_rng(3)
    pixels = draw.integers(0, 256, (601, 1033, 3), np.uint8)
    check_equal(pixels, plain(224, 224, 3, resample, 256))
    check_equal(pixels.swapaxes(0, 1), plain(32, 32, 3, resample))
    check_equal(pixels[:5, :3], plain(224, 192, 3, resample))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4000), (4000, 1), (3, 65536)])
def test_extreme_shapes_are_prepared_or_refused_as_in_python(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for preprocessing in (plain(1, 1), plain(32, 24), plain(224, 224, 3, "bicubic", 256)):
        try:
            preprocessing.decode(pixels)
        except DataError:
            with pytest.raises(DataError, match="too long and thin"):
                prepare(pixels, preprocessing)
        else:
            check_equal(pixels, preprocessing)


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (np.zeros((4, 4), np.float32), "uint8"),
        (np.zeros((4, 4, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 4), np.uint8), "at least 1x1"),
        (np.broadcast_to(np.uint8(0), (MOST_PIXELS // 4096 + 1, 4096)), "too many pixels"),
    ],
)
def test_unusable_images_say_why(pixels, why):
    with pytest.raises(DataError, match=why):
        prepare(pixels, plain(8, 8))


def raw(height: int, width: int, channels: int, fields: dict[str, object] | None = None) -> int:
    """What the C function returns; it writes nothing beside the result, and on refusal nothing at all."""
    own = fields_of(plain(4, 4))
    for name, value in (fields or {}).items():
        setattr(own, name, value)
    pixels = (ctypes.c_uint8 * 64)()
    to = np.full(48 + 16, np.nan, np.float32)
    code = library.library().anytime_prepare(
        pixels, height, width, channels, ctypes.byref(own), to.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    )
    assert np.isnan(to[48:] if code == 0 else to).all()
    return int(code)


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(0, 4, 3), (4, 0, 3), (-1, 4, 3), (4, -(2**31), 3), (4, 4, 2), (4, 4, 5), (4, 4, 0), (4, 4, -3)],
)
def test_shapes_without_meaning_are_refused(height, width, channels):
    assert raw(4, 4, 3) == 0
    assert raw(height, width, channels) == UNUSABLE


@pytest.mark.parametrize(
    "fields",
    [
        *({name: value} for name in ("height", "width", "channels") for value in (0, -1, 2**31 - 1)),
        *({"filter": value} for value in (-1, 6, 2**31 - 1)),
        *({"shorter_side": value} for value in (-1, 3, 2**31 - 1)),
        {"reserved": 1},
        *({"std": (ctypes.c_double * 3)(1, value, 1)} for value in (0, -1, np.nan, np.inf)),
        # of which 1 / std, mean / std or what they make of white is infinite in single precision
        *({"std": (ctypes.c_double * 3)(1, value, 1)} for value in (1e-311, 1e-45, 2e-39)),
        *({"mean": (ctypes.c_double * 3)(0, 0, value)} for value in (np.nan, np.inf, -np.inf, 1e39, -1e308)),
    ],
)
def test_settings_without_meaning_are_refused(fields: dict[str, object]) -> None:
    assert raw(4, 4, 3, fields) == UNUSABLE


def test_images_and_results_that_are_too_large_are_refused_before_anything_is_read():
    assert raw(2**31 - 1, 2**31 - 1, 4) == TOO_LARGE
    assert raw(MOST_PIXELS, 2, 1) == TOO_LARGE
    assert raw(1, 2**20, 1, {"shorter_side": 65536}) == TOO_LARGE
    function = library.library().anytime_prepare
    assert function(None, 4, 4, 3, ctypes.byref(fields_of(plain(4, 4))), None) == UNUSABLE


def photographs(folder: Path) -> list[np.ndarray]:
    """Blurred noise at several scales, as JPEG files store it: spectra like those of photographs."""
    draw, found = np.random.default_rng(0), []
    for number in range(40):
        height, width = (int(side) for side in draw.integers(30, 300, 2))
        picture = np.zeros((height, width, 3))
        for size in (2, 5, 11, 40, 150):
            coarse = Image.fromarray(draw.integers(0, 256, (size, size, 3), np.uint8))
            picture += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float) / 5
        path = folder / f"{number}.jpg"
        Image.fromarray(picture.astype(np.uint8)).convert("L" if number % 5 == 0 else "RGB").save(path)
        found.append(np.asarray(Image.open(path)))
    return found


def labels(net: ExportedNet, inputs: list[np.ndarray]) -> list[tuple[int, ...]]:
    """Of every stage."""
    found = []
    for x in inputs:
        state, own = net.backend.begin(x), []
        for stop in range(1, net.num_stages + 1):
            state, output = net.backend.run(stop - 1, stop, state)
            own.append(int(output[0].argmax()))
        found.append(tuple(own))
    return found


@pytest.fixture(scope="module")
def small_net(tmp_path_factory: pytest.TempPathFactory) -> ExportedNet:
    with torch.random.fork_rng():
        torch.manual_seed(5)  # weights that tell these pictures apart
        net = create_net("isresnext_tiny", num_classes=10).eval()
    bundle = Bundle.create(net, class_names=[list("abcdefghij")], preprocessing=plain(32, 32))
    return ExportedNet.load(export(bundle, tmp_path_factory.mktemp("native") / "folder", format="native"))


def check_labels(net: ExportedNet, pictures: list[np.ndarray]) -> None:
    preprocessing = plain(32, 32)
    python = labels(
        net, [preprocessing.standardise(preprocessing.decode(picture)[None]) for picture in pictures]
    )
    assert labels(net, [prepare(picture, preprocessing) for picture in pictures]) == python
    assert len(set(python)) > 3  # else nothing is compared


def test_labels_are_those_of_python(small_net, tmp_path):
    check_labels(small_net, photographs(tmp_path))


@pytest.mark.slow
def test_labels_of_200_real_photographs_are_those_of_python(small_net, shared_data, tmp_path):
    pictures = []
    for name in ("camvid", "cifar10"):
        unpack = [sys.executable, str(shared_data / "unpack.py"), name, str(tmp_path / name)]
        few = ["--per-class", "20"] if name == "cifar10" else []
        subprocess.run([*unpack, *few], check=True, capture_output=True)
        files = sorted((tmp_path / name).rglob("images/*.jpg" if name == "camvid" else "*.png"))
        images = [
            np.asarray(Image.open(file).convert("RGB")) for file in files[:: max(1, len(files) // 100)][:100]
        ]
        assert len(images) == 100
        pictures += images
    for picture in pictures:
        check_equal(picture, plain(224, 224, 3, "bicubic", 256))
    check_labels(small_net, pictures)
