"""What the pixels of a segmentation mask mean: classes, the values in mask files, colours, masks as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.records import JsonForm, Record

IGNORED = 255
"""In memory a pixel of a mask is a class from 0 on, or this.

No label is learnt there and nothing is counted; a scheme's teacher still speaks.
"""

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255 each."""


@dataclass(frozen=True)
class MaskClasses(Record):
    """The classes of label maps, and how mask files hold them.

    Attributes:
        names: of the classes, class 0 first; at most 255, all different.
        values: the pixel value of each class in a mask file.
        palette: the colour of each class.
        ignore_index: the pixel value in a mask file that is `IGNORED` in memory; None for none.

    Raises:
        DataError: for numbers of names, values and colours that differ, too many names, one that occurs
            twice, or values that are not different ones from 0 to 255.

    >>> classes = MaskClasses(("road", "sky"), (1, 2), ((128, 64, 128), (70, 130, 180)), ignore_index=0)
    >>> classes.from_file(np.array([[0, 1, 2]], np.uint8)).tolist()
    [[255, 0, 1]]
    >>> classes.to_file(np.array([[255, 0, 1]], np.uint8)).tolist()
    [[0, 1, 2]]
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    palette: tuple[Colour, ...]
    ignore_index: int | None = IGNORED
    json_form = JsonForm(DataError, "mask classes")

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "palette", tuple(tuple(colour) for colour in self.palette))
        if not self.names or not len(self.names) == len(self.values) == len(self.palette):
            raise DataError(
                f"{len(self.names)} names, {len(self.values)} values and {len(self.palette)} colours of "
                "classes: one of each a class is needed"
            )
        if len(self.names) > IGNORED:
            raise DataError(f"{len(self.names)} classes: one byte a pixel has room for {IGNORED} at most")
        for name in self.names:
            if self.names.count(name) > 1:
                raise DataError(f"two classes are called {name!r}: rename one of them")
        used = [*self.values, *([] if self.ignore_index is None else [self.ignore_index])]
        if any(type(v) is not int or not 0 <= v <= 255 for v in used) or len(set(used)) < len(used):
            raise DataError(f"the values of masks must be different whole numbers from 0 to 255, not {used}")
        for colour in self.palette:
            if len(colour) != 3 or any(type(part) is not int or not 0 <= part <= 255 for part in colour):
                raise DataError(f"a colour is three whole numbers from 0 to 255, not {colour}")

    def from_file(self, pixels: np.ndarray) -> np.ndarray:
        """Classes, or `IGNORED`, of the uint8 values of a mask file; same shape.

        Raises:
            DataError: for a value that is no class; the message names the values.
        """
        if not self._known[pixels].all():
            unknown = sorted(set(np.unique(pixels).tolist()) - set(np.flatnonzero(self._known).tolist()))
            shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
            known = f"{len(self.names)} classes have the values {_runs(self.values)}"
            ignored = "none is ignored" if self.ignore_index is None else f"{self.ignore_index} is ignored"
            raise DataError(
                f"has pixels of unknown label {shown}: {known} and {ignored}; add the class to classes.json, "
                "make it the ignore_index there, or correct the mask"
            )
        classes: np.ndarray = self._class_of[pixels]
        return classes

    def to_file(self, mask: np.ndarray) -> np.ndarray:
        """What a mask file has for classes; what is ignored becomes `ignore_index`, 255 if that is None."""
        table = np.full(256, IGNORED if self.ignore_index is None else self.ignore_index, np.uint8)
        table[: len(self.values)] = self.values
        looked_up: np.ndarray = table[mask]
        return looked_up

    def colours(self, mask: np.ndarray) -> np.ndarray:
        """A picture uint8 `(H, W, 3)` of classes `(H, W)`; what is ignored is black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        looked_up: np.ndarray = table[mask]
        return looked_up

    def png(self, mask: np.ndarray) -> bytes:
        """A PNG file of classes uint8 `(H, W)`: pixels have the values of mask files, shown in the palette.

        Raises:
            DataError: for another shape or dtype.
        """
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise DataError(f"a mask is uint8 (H, W), not {mask.dtype} {mask.shape}")
        picture = Image.fromarray(self.to_file(mask)).convert("L")
        table = np.zeros((256, 3), np.uint8)
        table[list(self.values)] = self.palette
        picture.putpalette(table.tobytes())
        file = io.BytesIO()
        picture.save(file, format="PNG")
        return file.getvalue()

    @cached_property
    def _class_of(self) -> np.ndarray:
        table = np.full(256, IGNORED, np.uint8)
        table[list(self.values)] = np.arange(len(self.values))
        return table

    @cached_property
    def _known(self) -> np.ndarray:
        known = np.zeros(256, dtype=bool)
        known[list(self.values)] = True
        if self.ignore_index is not None:
            known[self.ignore_index] = True
        return known


def default_palette(count: int) -> tuple[Colour, ...]:
    """Colours that tell `count` classes apart: those of PASCAL VOC from its second on, for black is ignored.

    The bits of the class number are spread over the high bits of red, green and blue.

    >>> default_palette(3)
    ((128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    return tuple(_voc_colour(number) for number in range(1, count + 1))


def _voc_colour(number: int) -> Colour:
    parts = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            parts[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return parts[0], parts[1], parts[2]


def _runs(values: Sequence[int]) -> str:
    """`(0, 1, 2, 5)` as "0-2, 5"."""
    ordered = sorted(values)
    runs: list[list[int]] = []
    for value in ordered:
        if runs and value == runs[-1][-1] + 1:
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    return ", ".join("-".join(map(str, run)) for run in runs)
