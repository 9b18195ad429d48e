"""What `Bundle.predict` reads, as one tensor `(1, C, H, W)`; and its output as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from anytimenet.core.images.inputs import as_input as as_array
from anytimenet.core.images.inputs import check_shape
from anytimenet.core.images.preprocessing import Preprocessing


def as_input(image: Any, preprocessing: Preprocessing) -> Tensor:
    """One image as the net reads it, `(1, C, H, W)`; a tensor that is ready stays on its device.

    `core.images.inputs.as_input` says what is read, and what is raised.
    """
    if isinstance(image, Tensor) and image.is_floating_point() and image.ndim == 4:
        check_shape(tuple(image.shape), preprocessing)
        if not torch.isfinite(image).all():
            as_array(image, preprocessing)  # which says where
        return image.detach()
    found = as_array(image, preprocessing)
    if found is image:  # of whatever byte order and precision, and the caller's
        return torch.from_numpy(np.array(found, dtype=np.float64))
    return torch.from_numpy(found)
