"""What a net was trained on before: how its images were made, and where its weights come from. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from anytimenet.core import checks
from anytimenet.core.images.preprocessing import Preprocessing


@dataclass(frozen=True)
class Pretraining:
    """How images must look to a net that comes with trained weights.

    Whoever loads data for such a net takes mean and std from here instead of from the data: other numbers
    would be other images to layers that have learnt already.

    Attributes:
        mean, std: of each channel, of values scaled to 0..1.
        image_size: side in pixels of the images that it was trained on, or height and width.
        source: where the weights come from, in words for people.

    Raises:
        TypeError: for a field of another kind.
        ValueError: for no size, or not as many numbers in `std` as in `mean`.

    >>> Pretraining((0.5,), (0.25,), 224, "nowhere").channels
    1
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | tuple[int, int]
    source: str

    def __post_init__(self) -> None:
        checks.settle(self, "mean", checks.numbers)
        checks.settle(self, "std", checks.numbers, above=0)
        checks.settle(self, "source", checks.words)
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(f"mean {self.mean} and std {self.std}: one number a channel is needed in both")
        given = self.image_size
        one = isinstance(given, int)
        sides = checks.whole_numbers((given,) if one else given, "image_size", 1, checks.MOST_SIDE)
        if len(sides) not in (1, 2):
            raise ValueError(f"image_size {self.image_size}: a side, or height and width, is needed")
        object.__setattr__(self, "image_size", sides[0] if len(set(sides)) == 1 else sides)

    @classmethod
    def of(cls, preprocessing: Preprocessing, source: str) -> Pretraining:
        """That of a net whose images were prepared in this way."""
        size = (preprocessing.height, preprocessing.width)
        return cls(preprocessing.mean, preprocessing.std, size, source)

    @property
    def channels(self) -> int:
        """Of the images: 1 grey, 3 colour."""
        return len(self.mean)
