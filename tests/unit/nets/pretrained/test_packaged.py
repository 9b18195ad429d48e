"""Weights from packages: nothing unknown is opened, and what was read once is read without pickle."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from anytimenet.core.errors import MissingExtraError, PretrainedError
from anytimenet.core.files.writing import sha256
from anytimenet.nets.pretrained.packaged import PackagedWeights, digest_of

TENSORS = {"fc.weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7)}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, one of which has weights; and a cache of its own."""
    folder = tmp_path / "site"
    info = folder / "some_weights-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "some_weights").mkdir()
    torch.save(TENSORS, folder / "some_weights" / "model.pth")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text("some_weights/__init__.py,,\nsome_weights/model.pth,,\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("ANYTIMENET_CACHE", str(tmp_path / "cache"))
    return folder


def weights_of(site: Path, **changed: str) -> PackagedWeights:
    content = (site / "some_weights" / "model.pth").read_bytes()
    known = {"file_sha256": sha256(content), "tensors_sha256": digest_of(TENSORS), **changed}
    return PackagedWeights("some-weights", ".pth", **known)


def test_the_second_time_no_pickle_is_read_and_no_package_is_needed(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of(site)
    check_equal(weights.read())
    (site / "some_weights" / "model.pth").unlink()
    (site / "some_weights-1.0.dist-info" / "RECORD").unlink()
    monkeypatch.setattr(torch, "load", forbidden)
    check_equal(weights.read())


@pytest.mark.parametrize("damage", ["a byte", "cut", "other tensors"])
def test_a_damaged_cache_is_made_anew(site: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    weights = weights_of(site)
    weights.read()
    (kept,) = (site.parent / "cache" / "pretrained").iterdir()
    good = kept.read_bytes()
    if damage == "a byte":
        kept.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == "cut":
        kept.write_bytes(good[:20])
    else:
        save_file({"fc.weight": torch.zeros(2, 3), "steps": torch.tensor(7)}, kept)
    with caplog.at_level(logging.WARNING):
        check_equal(weights.read())
    assert "made again" in caplog.text
    assert kept.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (site.parent / "no_folder").write_text("")
    monkeypatch.setenv("ANYTIMENET_CACHE", str(site.parent / "no_folder"))
    check_equal(weights_of(site).read())
    assert "cannot be written" in caplog.text


def test_another_file_is_not_opened(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", forbidden)
    with pytest.raises(PretrainedError, match=r"SHA-256 begins with 0000000000000000.* not opened"):
        weights_of(site, file_sha256="0" * 64).read()


def test_other_tensors_are_not_taken(site: Path) -> None:
    with pytest.raises(PretrainedError, match="not read as it was written"):
        weights_of(site, tensors_sha256="0" * 64).read()
    assert not (site.parent / "cache").exists()


def test_a_missing_package_is_told_with_the_extra_that_brings_it(site: Path) -> None:
    absent = PackagedWeights("no-such-weights", ".pth", "0" * 64, "1" * 64)
    with pytest.raises(MissingExtraError, match=r"no-such-weights .*\.\[pretrained\]"):
        absent.read()
    with pytest.raises(PretrainedError, match=r"without its \*\.bin file"):
        PackagedWeights("some-weights", ".bin", "0" * 64, "1" * 64).read()


def check_equal(found: dict[str, Tensor]) -> None:
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def forbidden(*args: object, **kwargs: object) -> None:
    raise AssertionError("a pickle is read")
