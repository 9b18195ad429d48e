"""How large images are and how often they are shown where trained weights learn a new task in minutes.

Measured: reproductions of the mixed regime; two cores show about 80 images of 112 pixels a second.
"""

from __future__ import annotations

IMAGES_OF_112 = 50_000
"""What a run may cost, in images of 112 pixels a side: about ten minutes on two cores."""
SMALLEST = 112
SIDES = (224, 192, 160, 144, 128, SMALLEST)
_ENOUGH_EPOCHS, _FEWEST, _MOST = 10, 3, 30


def side_for(images: int, short_side: float) -> int:
    """The largest side, no larger than the images are, that leaves ten epochs; 112 where none does.

    >>> [side_for(images, 500) for images in (500, 1_500, 2_600, 4_000, 50_000)]
    [224, 192, 144, 112, 112]
    >>> side_for(500, 32), side_for(500, 150)
    (112, 144)
    """
    fitting = (side for side in SIDES if side <= max(SMALLEST, short_side))
    return next((side for side in fitting if _affordable(images, side) >= _ENOUGH_EPOCHS), SMALLEST)


def epochs_for(images: int, side: float, budget: int = IMAGES_OF_112) -> int:
    """The epochs that such a run may cost, from 3 to 30.

    >>> epochs_for(500, 224), epochs_for(2_700, 112), epochs_for(50_000, 112)
    (25, 19, 3)
    """
    return min(max(round(_affordable(images, side, budget)), _FEWEST), _MOST)


def _affordable(images: int, side: float, budget: int = IMAGES_OF_112) -> float:
    return budget / (images * (side / SMALLEST) ** 2)
