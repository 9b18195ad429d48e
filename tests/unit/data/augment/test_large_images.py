"""Training images out of large files: what is drawn, what it does, and that both backends agree."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import fit
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import LargeImageAugmentation
from anytimenet.data.augment.pixels import change, light

PILLOW = LargeImageAugmentation(backend="pillow")
WHOLE = replace(PILLOW, flip=False, area=(1, 1))


def preprocessing(height=32, width=32, channels=3, **options):
    return Preprocessing(height, width, channels, (0.5,) * channels, (0.25,) * channels, **options)


def photo(width=90, height=70, seed=0, mode="RGB"):
    """Smooth colours, as photographs have them."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def draw(augmentation, width, height, seed=0, **options):
    return augmentation.draw(width, height, preprocessing(**options), np.random.default_rng(seed))


def difference(one, other):
    return np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int))


def test_the_whole_image_is_pillows_resize():
    image = photo()
    augmentation = replace(WHOLE, ratio=(90 / 70, 90 / 70))
    pixels = augmentation.apply(image, draw(augmentation, 90, 70), "bilinear")
    assert np.array_equal(pixels, image.resize((32, 32), Image.Resampling.BILINEAR))


def test_a_rectangle_is_cut_out_before_it_is_resized():
    image = photo()
    drawn = replace(draw(PILLOW, 90, 70), box=(11, 7, 51, 57), flipped=False)
    expected = image.crop((11, 7, 51, 57)).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(PILLOW.apply(image, drawn, "bicubic"), expected)
    mirrored = PILLOW.apply(image, replace(drawn, flipped=True), "bicubic")
    assert np.array_equal(mirrored, ImageOps.mirror(expected))


def test_area_and_ratio_are_even_in_share_and_logarithm():
    augmentation = replace(PILLOW, area=(0.1, 0.5))  # every rectangle fits
    boxes = np.array([draw(augmentation, 1000, 1000, seed).box for seed in range(2000)])
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, ratios = np.sort(wide * high / 1e6), np.sort(np.log(wide / high))
    # Kolmogorov-Smirnov: 1.63 / sqrt(2000) of the range is exceeded once in a hundred seeds.
    assert np.abs(areas - np.linspace(0.1, 0.5, 2000)).max() < 0.4 * 0.037
    even = np.linspace(np.log(3 / 4), np.log(4 / 3), 2000)
    assert np.abs(ratios - even).max() < (even[-1] - even[0]) * 0.037
    left = boxes[:, 0] / (1000 - wide)
    assert np.abs(np.sort(left) - np.linspace(0, 1, 2000)).max() < 0.037


@pytest.mark.parametrize(("size", "box"), [((300, 10), (143, 0, 156, 10)), ((10, 300), (0, 143, 10, 156))])
def test_where_no_rectangle_fits_the_largest_in_the_centre_is_taken(size, box):
    assert draw(replace(WHOLE, area=(0.9, 1)), *size).box == box


def test_half_of_the_images_are_mirrored_and_none_without_flip():
    assert 400 < sum(draw(PILLOW, 9, 9, seed).flipped for seed in range(1000)) < 600
    assert not any(draw(WHOLE, 9, 9, seed).flipped for seed in range(100))


def test_brightness_contrast_and_saturation_blend_with_black_mean_and_grey():
    image = photo(16, 16)
    values, grey = np.asarray(image).astype(float), np.asarray(image.convert("L")).astype(float)[..., None]
    blends = {
        "brightness": 0 * values,
        "contrast": np.full_like(values, round(grey.mean())),
        "saturation": grey,
    }
    for name, other in blends.items():
        for factor in (0.6, 1.0, 1.4):
            expected = np.clip(factor * values + (1 - factor) * other, 0, 255)
            assert difference(change(image, ((name, factor),)), expected).max() <= 1, (name, factor)


def test_hue_turns_the_colour_circle():
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    green = np.asarray(change(red, (("hue", 1 / 3),)))[0, 0]
    assert green[1] == 255
    assert max(green[0], green[2]) <= 6  # Pillow counts hues in 256 steps
    assert np.array_equal(change(photo(16, 16, mode="L"), (("hue", 0.3),)), photo(16, 16, mode="L"))


def test_changes_come_in_every_order_and_within_their_range():
    augmentation = replace(PILLOW, colour_jitter=0.4, hue=0.1)
    drawn = [draw(augmentation, 9, 9, seed).changes for seed in range(300)]
    assert len({tuple(name for name, _ in changes) for changes in drawn}) == 24
    for changes in drawn:
        for name, strength in changes:
            assert abs(strength) <= 0.1 if name == "hue" else 0.6 <= strength <= 1.4
    assert draw(PILLOW, 9, 9).changes == ()


def test_lighting_adds_along_the_principal_components():
    image = photo(16, 16)
    added = (0.02, -0.1, 0.3)
    expected = np.clip(np.rint(np.asarray(image) + 255 * np.array(added)), 0, 255)
    assert np.array_equal(light(image, added), expected)
    augmentation = replace(PILLOW, lighting=0.1)
    drawn = np.array([draw(augmentation, 9, 9, seed).lighting for seed in range(4000)])
    assert np.abs(drawn.mean(axis=0)).max() < 0.002
    # The first component, nearly grey, has eigenvalue 0.2175: std 0.1 * 0.2175 along it.
    first = np.array([-0.5675, -0.5808, -0.5836])
    assert (drawn @ first).std() == pytest.approx(0.02175, rel=0.05)
    assert draw(augmentation, 9, 9, channels=1).lighting == ()


def test_cutout_blacks_out_a_square_of_the_result():
    white = Image.new("RGB", (50, 50), "white")
    augmentation = replace(PILLOW, cutout=8)
    hidden = [
        (augmentation.apply(white, draw(augmentation, 50, 50, seed), "bilinear") == 0).all(2).sum()
        for seed in range(200)
    ]
    assert max(hidden) == 64
    assert min(hidden) >= 16  # a corner


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_both_backends_make_the_same_image(torchvision, mode, resample):
    options = {"colour_jitter": 0.4, "lighting": 0.1, "cutout": 6}
    ours = LargeImageAugmentation(backend="pillow", **options)
    theirs = LargeImageAugmentation(backend="torchvision", **options)
    for seed in range(20):
        image = photo(200, 150, seed, mode)
        drawn = draw(ours, 200, 150, seed, channels=len(image.getbands()))
        plain = replace(drawn, changes=(), lighting=())
        one, other = (augmentation.apply(image, plain, resample) for augmentation in (ours, theirs))
        assert difference(one, other).max() <= 1
        one, other = (augmentation.apply(image, drawn, resample) for augmentation in (ours, theirs))
        assert difference(one, other).max() <= 5  # one step, times 1.4 three times, and a rounding each
        assert difference(one, other).mean() < 0.3


def test_auto_takes_torchvision_where_it_is(torchvision):
    assert LargeImageAugmentation().settled().backend == "torchvision"
    assert PILLOW.settled() == PILLOW


def test_auto_takes_pillow_where_torchvision_is_not_and_asking_for_it_says_what_to_do():
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from anytimenet.data import LargeImageAugmentation as A\n"
        "print(A().settled().backend)\n"
        "try: A(backend='torchvision').settled()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("pillow\nDataError torchvision cannot be imported")
    assert "choose the backend pillow" in out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_file_gives_the_image_that_a_person_sees(tmp_path, orientation):
    upright = photo(120, 80)
    turned = {
        1: upright,
        2: ImageOps.mirror(upright),
        3: upright.rotate(180),
        4: ImageOps.flip(upright),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    one, other = (
        PILLOW.read_image(tmp_path / name, preprocessing(), np.random.default_rng(3))
        for name in ("turned.png", "upright.png")
    )
    assert np.array_equal(one, other)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("area", [(1, 1), (0.3, 0.3), (0.05, 0.05)])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path, monkeypatch, area, orientation):
    path = tmp_path / "large.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(1000, 750).save(path, quality=95, exif=exif)
    augmentation = replace(PILLOW, area=area)
    reduced = augmentation.read_image(path, preprocessing(), np.random.default_rng(5))
    sizes = []
    monkeypatch.setattr(
        "PIL.JpegImagePlugin.JpegImageFile.draft", lambda self, mode, size: sizes.append(size)
    )
    full = augmentation.read_image(path, preprocessing(), np.random.default_rng(5))
    assert len(sizes) == 1
    assert difference(reduced, full).mean() < 1.5


def test_of_a_lying_file_as_much_is_kept_along_its_own_sides(tmp_path, monkeypatch):
    kept = {}
    for orientation, size in ((1, (1200, 600)), (6, (600, 1200))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo(*size).save(tmp_path / "large.jpg", exif=exif)
        monkeypatch.setattr(
            "PIL.JpegImagePlugin.JpegImageFile.draft",
            lambda self, mode, size, orientation=orientation: kept.setdefault(orientation, size),
        )
        PILLOW.read_image(tmp_path / "large.jpg", preprocessing(), np.random.default_rng(1))
    enough = draw(PILLOW, 1200, 600, seed=1).enough(preprocessing())
    assert enough[0] != enough[1]
    assert kept == {1: enough, 6: enough[::-1]}


def test_a_reduced_jpeg_keeps_two_pixels_for_each_of_the_result(tmp_path):
    path = tmp_path / "large.jpg"
    photo(1600, 1200).save(path)
    reductions = set()
    for seed in range(60):
        drawn = draw(PILLOW, 1600, 1200, seed)
        with Image.open(path) as file:
            file.draft(None, drawn.enough(preprocessing()))
            left, top, right, bottom = drawn.box_in(file)
            reductions.add(round(1600 / file.width))
            assert right <= file.width
            assert bottom <= file.height
        if min(drawn.box[2] - drawn.box[0], drawn.box[3] - drawn.box[1]) >= 66:
            assert min(right - left, bottom - top) >= 63
    assert {4, 8} <= reductions


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    for name in ("bad.jpg", "missing.jpg"):
        with pytest.raises(DataError, match=name):
            PILLOW.read_image(tmp_path / name, preprocessing(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"area": (0, 1)}, "area must be"),
        ({"area": (0.5, 1.5)}, "area must be"),
        ({"ratio": (2, 1)}, "ratio must be"),
        ({"colour_jitter": 1.5}, "colour_jitter must be at least 0 and at most 1"),
        ({"hue": 0.6}, "hue must be at least 0 and at most 0.5"),
        ({"lighting": -1}, "lighting must be at least 0"),
        ({"cutout": -1}, "cutout must be"),
        ({"backend": "opencv"}, "backend 'opencv' does not exist"),
    ],
)
def test_bad_settings_are_refused(options, why):
    with pytest.raises(DataError, match=why):
        LargeImageAugmentation(**options)


def test_the_shorter_side_is_resized_and_the_centre_cropped():
    image = photo(90, 60)
    expected = image.resize((72, 48), Image.Resampling.BILINEAR).crop((16, 8, 56, 40))
    pixels = preprocessing(32, 40, shorter_side=48).decode(image)
    assert np.array_equal(pixels, expected)
    upright = image.transpose(Image.Transpose.TRANSPOSE)
    expected = upright.resize((48, 72), Image.Resampling.BILINEAR).crop((4, 20, 44, 52))
    assert np.array_equal(preprocessing(32, 40, shorter_side=48).decode(upright), expected)


@pytest.mark.parametrize("size", [(90, 60), (61, 97), (50, 50), (33, 200), (40, 40)])
def test_large_images_are_evaluated_as_torchvision_evaluates_them(torchvision, size):
    from torchvision.transforms import v2

    image = photo(*size)
    theirs = v2.Compose([v2.Resize(40), v2.CenterCrop((33, 36))])(image)
    assert np.array_equal(fit(image, 33, 36, shorter_side=40), theirs)


def test_the_shorter_side_survives_json_and_is_absent_without():
    with_side = preprocessing(shorter_side=36)
    assert Preprocessing.from_dict(with_side.to_dict()) == with_side
    assert with_side.to_dict()["shorter_side"] == 36
    old = {"height": 2, "width": 2, "channels": 1, "mean": [0.5], "std": [0.5], "resample": "box"}
    assert Preprocessing.from_dict(old).shorter_side is None
    assert Preprocessing.from_dict(old).to_dict() == old


@pytest.mark.parametrize("side", [31, 0, 33.5, "256"])
def test_a_shorter_side_must_cover_the_input(side):
    with pytest.raises((DataError, TypeError), match="shorter_side must be"):
        preprocessing(shorter_side=side)


# --- images in memory ---------------------------------------------------------------------------------------


def test_images_in_memory_are_changed_as_the_same_pixels_in_files_are(tmp_path: Path) -> None:
    augmentation = LargeImageAugmentation(area=(0.3, 0.8), colour_jitter=0.3, cutout=3, backend="pillow")
    images = np.random.default_rng(0).integers(0, 256, (6, 12, 10, 3), dtype=np.uint8)
    labels = np.arange(6)[:, None]
    changed, same = augmentation(images, labels, np.random.default_rng(1))
    assert same is labels
    assert changed.shape == images.shape
    own, rng = Preprocessing(12, 10, 3, (0.0,) * 3, (1.0,) * 3), np.random.default_rng(1)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "image.png")
        assert np.array_equal(changed[number], augmentation.read_image(tmp_path / "image.png", own, rng))
    tensors, _ = augmentation.on_tensor(
        torch.from_numpy(images), torch.from_numpy(labels), np.random.default_rng(1)
    )
    assert np.array_equal(tensors.numpy(), changed)


def test_grey_images_in_memory_stay_grey_and_the_whole_area_is_the_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    whole = LargeImageAugmentation(flip=False, area=(1.0, 1.0), ratio=(1.0, 1.0))
    assert np.array_equal(whole(images, np.zeros((3, 1)), np.random.default_rng(0))[0], images)
