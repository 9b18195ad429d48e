"""Every kind of image comes out upright, 8-bit and of the right size; standardising is exact."""

import json
import math
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import RESAMPLE, open_image
from anytimenet.core.images.preprocessing import Preprocessing


def plain(height, width, channels, resample="bilinear"):
    return Preprocessing(height, width, channels, (0.5,) * channels, (0.25,) * channels, resample)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


# --- kinds of images -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_grey_and_rgb_files_keep_their_pixels(tmp_path, shape):
    pixels = noise(*shape)
    channels = 3 if len(shape) == 3 else 1
    decoded = plain(5, 7, channels).decode(saved(tmp_path, Image.fromarray(pixels)))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, pixels.reshape(5, 7, channels))


def test_array_pil_image_and_path_agree(tmp_path):
    pixels = noise(12, 9, 3)
    path = saved(tmp_path, Image.fromarray(pixels))
    preprocessing = plain(6, 6, 3)
    first = preprocessing.decode(path)
    assert np.array_equal(first, preprocessing.decode(str(path)))
    assert np.array_equal(first, preprocessing.decode(pixels))
    assert np.array_equal(first, preprocessing.decode(Image.fromarray(pixels)))


def test_grey_becomes_three_equal_channels():
    pixels = noise(4, 4)
    decoded = plain(4, 4, 3).decode(pixels)
    assert all(np.array_equal(decoded[:, :, c], pixels) for c in range(3))


def test_rgb_becomes_grey_by_luma():
    pixels = noise(4, 4, 3)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(plain(4, 4, 1).decode(pixels)[:, :, 0] - luma).max() <= 0.51


def test_transparency_is_laid_over_white(tmp_path):
    pixels = noise(6, 6, 4)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    decoded = plain(6, 6, 3).decode(saved(tmp_path, Image.fromarray(pixels)))
    alpha = pixels[:, :, 3:] / 255
    assert np.abs(decoded - (pixels[:, :, :3] * alpha + 255 * (1 - alpha))).max() <= 1
    assert (decoded[0] == 255).all()
    assert np.array_equal(decoded[1], pixels[1, :, :3])


def test_transparent_grey_stays_grey(tmp_path):
    pixels = noise(6, 6, 2)
    pixels[0, :, 1] = 0
    image = open_image(saved(tmp_path, Image.fromarray(pixels)))
    assert image.mode == "L"
    assert (np.asarray(image)[0] == 255).all()


@pytest.mark.parametrize("transparent", [None, 2])
def test_palette(tmp_path, transparent):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    options = {} if transparent is None else {"transparency": transparent}
    decoded = plain(2, 2, 3).decode(saved(tmp_path, image, **options))
    assert decoded[0].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert decoded[1, 0].tolist() == ([70, 80, 90] if transparent is None else [255, 255, 255])


def test_black_and_white(tmp_path):
    bits = np.array([[True, False], [False, True]])
    decoded = plain(2, 2, 1).decode(saved(tmp_path, Image.fromarray(bits)))
    assert decoded[:, :, 0].tolist() == [[255, 0], [0, 255]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_cut(tmp_path, suffix):
    values = np.array([[0, 257, 65535], [128, 129, 1000]], dtype=np.uint16)
    path = saved(tmp_path, Image.fromarray(values), f"image.{suffix}")
    assert plain(2, 3, 1).decode(path)[:, :, 0].tolist() == [[0, 1, 255], [0, 1, 4]]


def test_16_bit_rgb(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(png_16_bit(values))
    decoded = plain(4, 5, 3).decode(path).astype(float)
    assert np.abs(decoded - values / 257).max() <= 1


def png_16_bit(values):
    """A PNG file of 16-bit RGB, which Pillow reads but does not write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    ]
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in [*chunks, (b"IEND", b"")]:
        file += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return file


def test_every_8_bit_value_survives_16_bits():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    wide = Image.fromarray(values.astype(np.uint16) * 257)
    assert np.array_equal(plain(16, 16, 1).decode(wide)[:, :, 0], values)


UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path, orientation):
    stored = noise(3, 5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = UPRIGHT[orientation](stored)
    path = saved(tmp_path, Image.fromarray(stored), exif=exif)
    assert np.array_equal(plain(*upright.shape, 1).decode(path)[:, :, 0], upright)


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "webp", "tiff"])
def test_other_formats(tmp_path, suffix):
    pixels = np.full((8, 8, 3), (200, 100, 50), dtype=np.uint8)
    decoded = plain(8, 8, 3).decode(saved(tmp_path, Image.fromarray(pixels), f"image.{suffix}"))
    assert np.abs(decoded.astype(int) - pixels).max() <= 3


# --- size ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "factor"), [(4, 4, 2), (50, 30, 3), (2, 7, 16), (20, 10, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_box_at_an_integer_factor_is_the_exact_mean(height, width, factor, channels):
    pixels = noise(height * factor, width * factor, channels)
    tiles = pixels.reshape(height, factor, width, factor, channels).astype(float)
    expected = np.floor(tiles.mean(axis=(1, 3)) + 0.5)
    assert np.array_equal(plain(height, width, channels, "box").decode(pixels), expected)


def test_box_crops_the_longer_side_before_it_averages():
    pixels = noise(4, 9)
    tiles = pixels[:, 2:6].reshape(2, 2, 2, 2).astype(float)
    decoded = plain(2, 2, 1, "box").decode(pixels)
    assert np.array_equal(decoded[:, :, 0], np.floor(tiles.mean(axis=(1, 3)) + 0.5))


@pytest.mark.parametrize("resample", RESAMPLE)
def test_any_size_is_fitted(resample):
    for height, width in [(1, 1), (3, 50), (50, 3), (7, 8), (6, 9), (13, 12)]:
        assert plain(6, 9, 1, resample).decode(noise(height, width)).shape == (6, 9, 1)


def test_the_shorter_side_is_resized_and_the_centre_kept():
    columns = np.repeat(np.arange(16, dtype=np.uint8)[None] * 10, 8, axis=0)
    decoded = plain(4, 4, 1, "box").decode(columns)  # 16x8 to 8x4, of which columns 2..5 stay
    assert decoded[0, :, 0].tolist() == [45, 65, 85, 105]
    assert np.array_equal(plain(4, 4, 1, "box").decode(columns.T)[:, :, 0], decoded[:, :, 0].T)


def test_decoding_leaves_the_image_as_it_was():
    image = Image.fromarray(noise(8, 8, 3))
    before = image.tobytes()
    plain(4, 4, 1).decode(image)
    assert image.tobytes() == before
    assert image.size == (8, 8)


# --- numbers -------------------------------------------------------------------------------------------


def test_standardise_is_the_formula():
    images = noise(4, 3, 5, 3)
    preprocessing = Preprocessing(3, 5, 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
    values = preprocessing.standardise(images)
    expected = (images / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    assert values.dtype == np.float32
    assert values.shape == (4, 3, 3, 5)
    np.testing.assert_allclose(values, expected.transpose(0, 3, 1, 2), rtol=0, atol=2e-6)


def test_no_images_give_no_values():
    assert plain(2, 3, 1).standardise(np.zeros((0, 2, 3, 1), np.uint8)).shape == (0, 1, 2, 3)


def test_json_round_trip_is_exact():
    preprocessing = Preprocessing(8, 9, 3, (0.1, 1 / 3, 0.7), (0.2, 2 / 7, 0.3), "lanczos")
    again = Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict())))
    assert again == preprocessing
    assert hash(again) == hash(preprocessing)


# --- bad input -----------------------------------------------------------------------------------------


def test_bad_files_are_named(tmp_path):
    whole = saved(tmp_path, Image.fromarray(noise(32, 32, 3)))
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:500])
    text = tmp_path / "text.png"
    text.write_text("not an image")
    floats = saved(tmp_path, Image.fromarray(np.zeros((2, 2), np.float32)), "float.tif")
    for path, why in [
        (cut, "cannot be read"),
        (text, "cannot be read"),
        (tmp_path / "gone.png", "does not exist"),
        (floats, "save it with 8 or 16 bits"),
    ]:
        with pytest.raises(DataError, match=f"{re.escape(str(path))}.*{why}"):
            plain(2, 2, 1).decode(path)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros((4, 4)), "must be uint8"),
        (np.zeros((3, 8, 8), np.uint8), "transpose"),
        (np.zeros((2, 8, 8, 3), np.uint8), "transpose"),
        (np.zeros((0, 8), np.uint8), "has shape"),
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "neither 8 nor 16 bits"),
        (Image.new("L", (0, 4)), "at least 1x1 pixels, not 4x0"),
        ([[0, 1]], "not list"),
    ],
)
def test_unusable_images_say_why(image, why):
    with pytest.raises(DataError, match=why):
        plain(4, 4, 1).decode(image)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((0, 8, 1, (0.5,), (0.5,)), "height must be from 1"),
        ((8, 8, 2, (0.5, 0.5), (0.5, 0.5)), "channels must be 1"),
        ((8, 8, 3, (0.5,), (0.5,)), "one number for each of 3"),
        ((8, 8, 1, (0.5,), (0.0,)), "std must be above 0"),
        ((8, 8, 1, (0.5,), (1e-311,)), "numbers that float32 does not have"),
        ((8, 8, 1, (0.0,), (2e-39,)), "numbers that float32 does not have"),
        ((8, 8, 1, (1e39,), (1.0,)), "numbers that float32 does not have"),
        ((8, 8, 1, (math.inf,), (1.0,)), "mean"),
        ((8, 8, 1, (math.nan,), (1.0,)), "mean"),
        ((8, 8, 1, (0.5,), (math.inf,)), "std"),
        ((8, 8, 1, (float("nan"),), (1.0,)), "finite"),
        ((8, 8, 1, (0.5,), (0.5,), "bilinaer"), "did you mean 'bilinear'"),
    ],
)
def test_bad_settings_are_refused(arguments, why):
    with pytest.raises(DataError, match=why):
        Preprocessing(*arguments)


@pytest.mark.parametrize("change", [{"mean": 3}, {"colour": 1}, {"height": None}])
def test_bad_descriptions_are_refused(change):
    with pytest.raises(DataError, match="not a description of preprocessing"):
        Preprocessing.from_dict({**plain(4, 4, 1).to_dict(), **change})


def test_standardise_refuses_what_was_not_decoded():
    with pytest.raises(DataError, match="decode the images first"):
        plain(4, 4, 1).standardise(np.zeros((2, 4, 4, 1), np.float32))
    with pytest.raises(DataError, match="decode the images first"):
        plain(4, 4, 1).standardise(np.zeros((2, 5, 4, 1), np.uint8))
