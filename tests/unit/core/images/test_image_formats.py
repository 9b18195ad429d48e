"""Only the formats that are listed are opened, and only regular files, whatever a file is called."""

import os
import socket
import subprocess

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import open_image
from anytimenet.core.images.formats import IMAGE_FORMATS, IMAGE_SUFFIXES, is_image_name, opened_image
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.data.sources.mask_files import read_mask, upright_size

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def read_as_mask(path):
    return read_mask(path, MaskClasses(("a", "b"), (0, 1), ((1, 2, 3), (4, 5, 6)), 255))


READERS = [open_image, read_as_mask]


@pytest.mark.parametrize("name", IMAGE_FORMATS)
def test_every_listed_format_is_read_under_each_of_its_suffixes(tmp_path, name):
    pixels = np.full((6, 4, 3), 200, np.uint8)
    for suffix in IMAGE_FORMATS[name]:
        path = tmp_path / f"image{suffix}"
        Image.fromarray(pixels).save(path, format=name)
        assert open_image(path).size == (4, 6)
        assert is_image_name(path.name.upper())


@pytest.mark.parametrize("read", READERS)
def test_postscript_under_a_picture_s_name_starts_no_program(tmp_path, monkeypatch, read):
    def started(*arguments, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    path = tmp_path / "x.png"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(DataError, match=r"x\.png.*cannot be read.*none of PNG"):
        read(path)


@pytest.mark.parametrize("name", ["ICO", "PCX", "TGA", "SGI", "DDS", "JPEG2000"])
@pytest.mark.parametrize("read", READERS)
def test_formats_that_are_not_listed_are_refused(tmp_path, name, read):
    path = tmp_path / "x.png"
    Image.new("RGB", (16, 16)).save(path, format=name)
    with pytest.raises(DataError, match="none of PNG"):
        read(path)


@pytest.mark.parametrize("read", [*READERS, upright_size])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, read):
    pipe, listening = tmp_path / "pipe.png", tmp_path / "s.png"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(listening))
        linked = tmp_path / "linked.png"
        linked.symlink_to(pipe)
        for path, kind in (
            (pipe, "a pipe"),
            (linked, "a pipe"),
            (listening, "a socket"),
            (tmp_path, "a folder"),
            (type(tmp_path)("/dev/zero"), "a device"),
        ):
            with pytest.raises((DataError, OSError), match=f"{kind}, not a regular file"):
                read(path)


def test_files_that_the_system_invents_are_empty():
    with pytest.raises(DataError, match="cannot be read"):
        open_image("/proc/self/status")


def test_no_suffix_belongs_to_two_formats():
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES)
    with pytest.raises(OSError, match="none of PNG"), opened_image(__file__):
        pass
