"""The size that a file's beginning tells is the one that Pillow decodes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.images.told_size import told_size


def file_of(format: str, size: tuple[int, int], **more: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file, format, **more)
    return file.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (33, 700)])
@pytest.mark.parametrize("more", [{}, {"comment": b"x" * 5000}, {"progressive": True}])
def test_of_jpeg(size, more):
    assert told_size(file_of("JPEG", size, **more)) == size


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (33, 700)])
def test_of_png(size):
    assert told_size(file_of("PNG", size)) == size


def test_others_and_parts_tell_nothing():
    assert told_size(file_of("GIF", (5, 5))) is None
    whole = file_of("JPEG", (40, 30))
    assert [told_size(whole[:end]) for end in range(20)] == [None] * 20
    assert told_size(b"\xff\xd8" + b"\xff\xe0\x00\x00" * 10_000) is None
    assert told_size(b"\xff\xd8" + bytes(1000)) is None
