"""A sliced bundle answers as before, is smaller on disk and in memory, and is a bundle like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import anytimenet as an
from anytimenet.bundle import Bundle
from anytimenet.cli.main import run
from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.records import Thresholds
from anytimenet.nets.snapshot import storages_of
from anytimenet.workflows.slicing import slice_bundle

LOOK = an.Preprocessing(16, 16, 1, (0.5,), (0.25,))
NAMES = [[str(digit) for digit in range(10)]]
ACCURACIES = (0.6, 0.7, 0.9, 0.8)


def a_bundle() -> Bundle:
    torch.manual_seed(0)
    net = an.create_net("isresnext_small", 10, in_channels=1).eval()
    return Bundle.create(net, class_names=NAMES, preprocessing=LOOK, val_accuracies=ACCURACIES)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = a_bundle()
    bundle.manifest = replace(
        bundle.manifest, thresholds=Thresholds("max_probability", (0.9, 0.9, 0.9, None))
    )
    return bundle.save(tmp_path_factory.mktemp("slicing") / "bundle")


def bytes_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def bytes_in_memory(bundle: Bundle) -> int:
    return sum(storages_of(bundle.net).values())


@pytest.mark.parametrize("stages", [1, 3, [2], [1, 3], [2, 4]], ids=str)
def test_answers_are_equal_and_file_and_memory_are_those_of_the_kept_stages(saved, tmp_path, stages):
    whole = an.load(saved)
    kept = list(range(1, stages + 1)) if isinstance(stages, int) else stages
    slice_bundle(saved, stages).save(tmp_path / "small")
    small = an.load(tmp_path / "small")
    image = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    for number, stage in enumerate(kept, 1):
        ours, theirs = (
            b.predict(image, stage=k).probabilities[0] for b, k in ((small, number), (whole, stage))
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert small.costs == tuple(whole.costs[stage - 1] for stage in kept)
    assert small.accuracies == tuple(ACCURACIES[stage - 1] for stage in kept)
    assert small.manifest.thresholds is None
    # The weights that the kept stages use, once: 4 bytes a number, beside names and counters.
    used = {(p.name, p.box): p.numel for p in whole.net.parts() if set(p.stages) & set(kept)}
    numbers = sum(used.values())
    total = sum(p.numel for p in whole.net.parts())
    assert numbers < total
    assert 4 * numbers <= bytes_in_memory(small) <= 4 * numbers + 1024
    headers = 200 * len(small.net.parts())
    assert 4 * numbers <= bytes_on_disk(tmp_path / "small") <= 4 * numbers + headers
    assert bytes_on_disk(tmp_path / "small") < bytes_on_disk(saved)


def test_a_prefix_of_a_folder_needs_the_files_of_its_stages_alone(saved, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    for name in ("bundle.json", "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors"):
        (part / name).write_bytes((saved / name).read_bytes())
    assert slice_bundle(part, [2]).num_stages == 1
    with pytest.raises(BundleError, match="model-00003"):
        slice_bundle(part, 3)


def test_the_given_bundle_stays_and_shares_nothing_with_the_smaller_one():
    whole = a_bundle()
    small = slice_bundle(whole, whole.num_stages)
    assert small is not whole
    for tensor in small.net.state_dict().values():
        tensor.zero_()
    assert any(tensor.any() for tensor in whole.net.state_dict().values())


@pytest.mark.parametrize("stages", [0, 5, [], [2, 1], [1, 1], [1, 9]], ids=str)
def test_stages_that_do_not_exist_are_refused(saved, stages):
    for source in (saved, an.load(saved)):
        with pytest.raises(ValueError, match="stages"):
            slice_bundle(source, stages)


@pytest.mark.parametrize(("words", "was"), [("2", [1, 2]), ("1,3", [1, 3]), ("3,", [3])])
def test_the_command_says_what_it_kept_and_what_it_saves(saved, tmp_path, capsys, words, was):
    out = tmp_path / "small"
    assert run(["slice", str(saved), "--stages", words, "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [stage["was"] for stage in result["stages"]] == was
    assert result["bytes"] == bytes_on_disk(out)
    assert result["bytes_before"] == bytes_on_disk(saved)
    assert an.load(out).num_stages == len(was)
    assert run(["slice", str(saved), "--stages", words, "--out", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(["slice", str(saved), "--stages", words, "--out", str(out), "--overwrite"]) == 0
    said = capsys.readouterr().out
    assert "thresholds" in said
    assert f"{result['bytes'] / result['bytes_before']:.0%} of the" in said


@pytest.mark.parametrize("words", ["", "x", "0", "5", "2,1", "-1", "1,,2"])
def test_the_command_refuses_other_stages_and_writes_nothing(saved, tmp_path, capsys, words):
    assert run(["slice", str(saved), "--stages", words, "--out", str(tmp_path / "small")]) != 0
    assert "--stages" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


def test_the_command_never_writes_over_its_source(saved, capsys):
    before = bytes_on_disk(saved)
    command = ["slice", str(saved), "--stages", "1", "--out", str(saved), "--overwrite"]
    assert run(command) == 1
    assert "give another folder" in capsys.readouterr().err
    assert bytes_on_disk(saved) == before
