"""Segments compiled ahead of time: those of eager PyTorch, made once, kept, and never used if they differ."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anytimenet.bundle.backends.compiled import CompiledBackend
from anytimenet.bundle.backends.packages import COMPILERS, Packages, key_of
from anytimenet.core.errors import BackendError
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.testing import check_backend

SHAPE = (1, 8, 8)  # grey, which a compiler of PyTorch once got wrong
# A segment takes the compiler some ten seconds of a processor: one is compiled here, more where asked for.
SEGMENTS = [(0, 1), (1, 3), (0, 3)] if os.environ.get("ANYTIMENET_COMPILE_MORE") else [(0, 1)]
needs_a_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="no C++ compiler is installed"
)


@pytest.fixture(scope="module")
def net() -> AnytimeNet:
    torch.manual_seed(0)
    return create_net("isresnext_tiny", in_channels=1).eval()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@needs_a_compiler
@pytest.mark.slow
def test_compiled_segments_keep_what_backends_promise(
    net: AnytimeNet, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    def make(net: AnytimeNet) -> CompiledBackend:
        return CompiledBackend(net, input_shape=SHAPE, segments=SEGMENTS, cache_dir=cache)

    check_backend(make, net, SHAPE)
    files = sorted((cache / "compiled").iterdir())
    assert [file.suffix for file in files] == [".pt2"] * len(SEGMENTS)
    assert not [file for file in files if file.stat().st_mode & 0o077]
    # The next process needs no compiler, and gives the same.
    monkeypatch.setenv("CXX", "no-such-compiler")
    check_backend(make, net, SHAPE)
    backend = make(net)
    with pytest.raises(BackendError, match="needs a C\\+\\+ compiler, and CXX is 'no-such-compiler'"):
        backend.prepare(0, 1)  # other weights
    with pytest.raises(ValueError, match=r"\(0, 2\) is not one that may be compiled"):
        backend.prepare(0, 2)
    with pytest.raises(ValueError, match=r"compiled as \(1, 8, 8\)"):
        backend.begin(np.zeros((1, 1, 16, 16), np.float32))
    # What others could have written is not run.
    os.chmod(files[0], 0o666)
    with pytest.raises(Exception, match="belongs to another user, or others can write to it"):
        check_backend(make, net, SHAPE)


class Kept:
    """In the place of packages: gives one that is wrong from the disk, and a good one when it compiles."""

    def __init__(self, compiles_well: bool) -> None:
        self.compiles_well = compiles_well
        self.compiled = 0
        self.module: Any = None

    def load(self, key: str) -> Any:
        return lambda *state: [tensor + 1 for tensor in self.module(*state)]

    def compile(self, key: str, module: Any, example: Any, options: Any, any_batch: bool) -> Any:
        self.compiled += 1
        return module if self.compiles_well else self.load(key)

    def nbytes(self, key: str) -> int:
        return 1000


@pytest.mark.parametrize("well", [True, False])
def test_a_package_that_gives_other_numbers_is_made_again_or_refused(
    net: AnytimeNet, well: bool, monkeypatch: pytest.MonkeyPatch
):
    backend = CompiledBackend(net, input_shape=SHAPE)
    kept = Kept(well)
    monkeypatch.setattr(backend, "_packages", kept)
    segment = backend._eager.segment(0, 1)
    monkeypatch.setattr(kept, "module", lambda *state: (*segment(state)[0][1:], *segment(state)[1]))
    if well:
        backend.prepare(0, 1)
        assert backend.prepared == {(0, 1): 1000}
    else:
        with pytest.raises(BackendError, match=r"segment \(0, 1\) gives other numbers"):
            backend.prepare(0, 1)
    assert kept.compiled == 1


def test_a_key_follows_from_weights_and_facts(net: AnytimeNet):
    segment = net.segment(0, 1)
    other = create_net("isresnext_tiny").segment(0, 1)
    keys = {
        key_of(segment, 1),
        key_of(segment, 2),
        key_of(other, 1),
        key_of(net.segment(0, 2), 1),
    }
    assert len(keys) == 4
    assert key_of(net.segment(0, 1), 1) in keys


def test_a_file_that_is_no_package_is_made_again(tmp_path: Path):
    packages = Packages(tmp_path)
    assert packages.load("missing") is None
    packages.folder.mkdir()
    packages.path("cut").write_bytes(b"PK\x03\x04 cut short")
    os.chmod(packages.path("cut"), 0o600)
    assert packages.load("cut") is None


def test_one_image_at_a_time_is_told(net: AnytimeNet):
    backend = CompiledBackend(net, input_shape=SHAPE, single=True)
    assert backend.name == "compiled-single"
    with pytest.raises(ValueError, match="one image at a time, not 2: use 'compiled'"):
        backend.begin(np.zeros((2, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="one image at a time, not 0"):
        backend.rows(backend.begin(np.zeros((1, *SHAPE), np.float32)), [])
