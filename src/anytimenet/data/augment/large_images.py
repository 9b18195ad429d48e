"""Augmentation of large images: random resized crop, flip, colour jitter, PCA lighting, cutout."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from PIL import Image

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import as_array, open_image, with_channels
from anytimenet.core.images.formats import OpenedImage
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.records import JsonForm
from anytimenet.data.augment.pixels import (
    Change,
    change,
    cut_array,
    draw_changes,
    draw_lighting,
    draw_squares,
    light,
)
from anytimenet.data.augment.resizing import Backend, Box, choose_backend, cut_out

if TYPE_CHECKING:
    from torch import Tensor

_TRIES = 10  # rectangles drawn before the centre is taken
_SPARE = 2  # pixels that a reduced JPEG keeps for each pixel of the result, along a side


@dataclass(frozen=True)
class LargeImageAugmentation:
    """A random rectangle resized to the input (Szegedy et al. 2015), then flip, colours and cutout.

    Of files, and of images in memory, which are quicker and coarser. The size and the resizing filter are
    those of the data's `Preprocessing` (in memory the filter is bilinear). Every change is drawn first,
    so that both backends make the same image up to the rounding of the resizing. MSDNet's released
    ImageNet training has `colour_jitter=0.4, lighting=0.1`; the papers on slicing use crop and flip.

    Attributes:
        flip: whether every second image on average is mirrored.
        area: smallest and largest share of the image that the rectangle covers.
        ratio: smallest and largest width over height of the rectangle.
        colour_jitter: brightness, contrast and saturation are multiplied by 1 - x to 1 + x, in random order.
        hue: the hue is turned by up to this share of the circle, at most 0.5.
        lighting: standard deviation of the shift along the principal components of ImageNet's colours.
        cutout: side of a square of the result that is blacked out; 0 for none.
        backend: what resizes: "pillow", "torchvision" (extra `vision`), or "auto", which takes torchvision
            where it can be imported. Colours are changed by Pillow, which is quicker at it.

    Raises:
        TypeError: for a field of another kind.
        DataError: for a value out of range.

    >>> photo = Image.fromarray(np.arange(60 * 80 * 3, dtype=np.uint8).reshape(60, 80, 3))
    >>> augmentation = LargeImageAugmentation(colour_jitter=0.4, lighting=0.1)
    >>> drawn = augmentation.draw(80, 60, Preprocessing(32, 32, 3, (0.5,) * 3, (0.25,) * 3),
    ...                           np.random.default_rng(0))
    >>> augmentation.apply(photo, drawn, "bilinear").shape
    (32, 32, 3)
    """

    flip: bool = True
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    colour_jitter: float = 0.0
    hue: float = 0.0
    lighting: float = 0.0
    cutout: int = 0
    backend: Backend = "auto"
    json_form = JsonForm(strict=True, defaults=True)

    def __post_init__(self) -> None:
        with checks.raised_as(DataError):
            checks.settle(self, "flip", checks.flag)
            checks.settle(self, "area", checks.numbers, above=0, most=1)
            checks.settle(self, "ratio", checks.numbers, above=0)
            for name in ("area", "ratio"):
                pair = tuple(float(value) for value in getattr(self, name))
                if len(pair) != 2 or pair[0] > pair[1]:
                    raise ValueError(f"{name} must be two numbers, the smaller first, not {pair}")
                object.__setattr__(self, name, pair)
            checks.settle(self, "colour_jitter", checks.number, 0, 1)
            checks.settle(self, "hue", checks.number, 0, 0.5)
            checks.settle(self, "lighting", checks.number, 0)
            checks.settle(self, "cutout", checks.whole_number, most=checks.MOST_SIDE)
            checks.settle(self, "backend", checks.choice, get_args(Backend))

    def settled(self) -> LargeImageAugmentation:
        """The same with the backend that "auto" stands for on this machine.

        Raises:
            DataError: if torchvision is asked for and cannot be imported.
        """
        return replace(self, backend=choose_backend(self.backend))

    def read_image(self, path: Path, preprocessing: Preprocessing, rng: np.random.Generator) -> np.ndarray:
        """One training image, uint8 `(H, W, C)`.

        A JPEG of which less is needed is decoded at a half, a quarter or an eighth of its size, as long as
        that leaves at least two pixels for each pixel of the result along both sides.

        Raises:
            DataError: if the file cannot be read.
        """
        drawn: Drawn | None = None

        def draw_and_reduce(file: OpenedImage) -> None:
            nonlocal drawn
            drawn = self.draw(*file.upright_size, preprocessing, rng)
            enough = drawn.enough(preprocessing)
            file.picture.draft(None, enough[::-1] if file.lying else enough)

        image = with_channels(open_image(path, draw_and_reduce), preprocessing.channels)
        assert drawn is not None
        return self.apply(image, drawn, preprocessing.resample)

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """New uint8 `(N, H, W, C)` images of decoded ones, and the labels as they were.

        Rectangles are cut out of the decoded images, whose size the result has: a file has more pixels where
        they are enlarged.
        """
        _, height, width, channels = images.shape
        own = Preprocessing(height, width, channels, (0.0,) * channels, (1.0,) * channels)
        changed = np.empty_like(images)
        for into, pixels in zip(changed, images, strict=True):
            image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
            into[:] = self.apply(image, self.draw(width, height, own, rng), own.resample)
        return changed, labels

    def on_tensor(self, images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The same for uint8 tensors on any device; the CPU does the work."""
        import torch

        changed, _ = self(images.cpu().numpy(), np.empty(0), rng)
        return torch.from_numpy(changed).to(images.device), labels

    def draw(self, width: int, height: int, preprocessing: Preprocessing, rng: np.random.Generator) -> Drawn:
        """Everything that is random about one image of `width` x `height` pixels."""
        target = preprocessing.height, preprocessing.width
        colour = preprocessing.channels == 3
        return Drawn(
            size=(width, height),
            box=_draw_box(width, height, self.area, self.ratio, rng),
            target=target,
            flipped=bool(self.flip and rng.random() < 0.5),
            changes=draw_changes(self.colour_jitter, self.hue, rng),
            lighting=draw_lighting(self.lighting, rng) if self.lighting and colour else (),
            square=draw_squares(1, *target, self.cutout, rng) if self.cutout else None,
        )

    def apply(self, image: Image.Image, drawn: Drawn, resample: str) -> np.ndarray:
        """The training image, uint8 `(H, W, C)`, from an upright one of the drawn size or reduced from it."""
        backend = choose_backend(self.backend)
        result = cut_out(image, drawn.box_in(image), *drawn.target, resample, backend)
        if drawn.changes:
            result = change(result, drawn.changes)
        if drawn.lighting:
            result = light(result, drawn.lighting)
        if drawn.flipped:
            result = result.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = as_array(result)
        return pixels if drawn.square is None else cut_array(pixels[None], drawn.square, self.cutout)[0]


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn for one image.

    Attributes:
        size: width and height of the whole image, upright.
        box: the rectangle in it: left, top, right, bottom.
        target: height and width of the result.
        flipped: whether the result is mirrored.
        changes: of the colours, in order.
        lighting: what is added to red, green and blue; empty for nothing.
        square: top and left of what is blacked out, `(1, 2)`; None for nothing.
    """

    size: tuple[int, int]
    box: Box
    target: tuple[int, int]
    flipped: bool
    changes: tuple[Change, ...]
    lighting: tuple[float, ...]
    square: np.ndarray | None

    def enough(self, preprocessing: Preprocessing) -> tuple[int, int]:
        """Width and height of the smallest whole image that the rectangle may be cut out of."""
        left, top, right, bottom = self.box
        return (
            math.ceil(self.size[0] * _SPARE * preprocessing.width / (right - left)),
            math.ceil(self.size[1] * _SPARE * preprocessing.height / (bottom - top)),
        )

    def box_in(self, image: Image.Image) -> Box:
        """The rectangle in an image that may have been reduced."""
        if image.size == self.size:
            return self.box
        across, down = image.width / self.size[0], image.height / self.size[1]
        left, top = round(self.box[0] * across), round(self.box[1] * down)
        return left, top, max(left + 1, round(self.box[2] * across)), max(top + 1, round(self.box[3] * down))


def _draw_box(
    width: int,
    height: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """A rectangle with an even share of the area and an even logarithm of the ratio, if one fits."""
    areas = width * height * rng.uniform(*area, _TRIES)
    ratios = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), _TRIES))
    wide, high = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = np.flatnonzero((wide >= 1) & (wide <= width) & (high >= 1) & (high <= height))
    if not len(fits):
        return _central_box(width, height, ratio)
    w, h = int(wide[fits[0]]), int(high[fits[0]])
    left, top = (int(place) for place in rng.integers(0, (width - w + 1, height - h + 1)))
    return left, top, left + w, top + h


def _central_box(width: int, height: int, ratio: tuple[float, float]) -> Box:
    """The largest rectangle around the centre whose ratio is allowed."""
    w = max(1, min(width, round(height * ratio[1])))
    h = max(1, min(height, round(width / ratio[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
