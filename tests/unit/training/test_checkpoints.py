"""Checkpoints: what is damaged, foreign or broken is refused by name, and what is whole goes on."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from anytimenet.core.errors import TrainingError
from anytimenet.training.checkpoint_header import UNHASHED_FORMAT, digest_of
from anytimenet.training.checkpoints import Checkpoint

HEADER = {
    "epoch": 1,
    "batch": 0,
    "run": {"lr": 0.1},
    "progress": {
        "best": {"epoch": 1, "score": 0.5, "val": [0.5]},
        "history": [{"epoch": 1, "loss": 1.0, "losses": [1.0], "val": [0.5]}],
        "losses": {"1": [1.5, 3]},
    },
}
TENSORS = {
    "net.weight": torch.arange(6.0).view(2, 3),
    "net.counter": torch.tensor(3),
    "net.half": torch.ones(3, dtype=torch.bfloat16),
    "net.none": torch.zeros(0, 2),
    "rng.torch": torch.arange(5, dtype=torch.uint8),
}


def checkpoint(**changes) -> Checkpoint:
    return Checkpoint(**{**HEADER, "tensors": TENSORS, **changes})


@pytest.fixture
def file(tmp_path):
    checkpoint().save(tmp_path / "last.safetensors")
    return tmp_path / "last.safetensors"


def test_what_is_saved_is_loaded(file):
    found = Checkpoint.load(file)
    assert (found.epoch, found.batch, found.run, found.progress) == tuple(HEADER.values())
    assert found.hashed
    assert set(found.tensors) == set(TENSORS)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())


def test_no_bit_of_it_may_flip(file):
    whole = file.read_bytes()
    for place in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << (place % 8)
        file.write_bytes(spoilt)
        with pytest.raises(TrainingError, match=r"last\.safetensors"):
            Checkpoint.load(file)


@pytest.mark.parametrize("left", [0, 7, 8, 100, -1])
def test_a_cut_file_is_damaged(file, left):
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(TrainingError, match=r"last\.safetensors is damaged"):
        Checkpoint.load(file)


def test_a_folder_and_nothing_are_no_checkpoints(tmp_path):
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        Checkpoint.load(tmp_path / "last.safetensors")
    with pytest.raises(TrainingError, match="is no file"):
        Checkpoint.load(tmp_path)


def test_the_first_format_has_no_digest_and_is_read(file):
    old = {"format": UNHASHED_FORMAT, "header": json.dumps(HEADER)}
    file.write_bytes(safetensors.torch.save(TENSORS, metadata=old))
    found = Checkpoint.load(file)
    assert not found.hashed
    assert found.epoch == 1
    # A hashed file cannot pass for an old one.
    old["digest"] = digest_of(old["header"], TENSORS)
    file.write_bytes(safetensors.torch.save(TENSORS, metadata=old))
    with pytest.raises(TrainingError, match="not a checkpoint"):
        Checkpoint.load(file)
    file.write_bytes(safetensors.torch.save(TENSORS, metadata={"format": "anytimenet-checkpoint-9"}))
    with pytest.raises(TrainingError, match="newer version"):
        Checkpoint.load(file)


def changed(*path_and_value):
    """The header with another value at a path; without the entry for `...`."""
    header = json.loads(json.dumps(HEADER))
    *path, last, value = path_and_value
    place = header
    for key in path:
        place = place[key]
    place[last] = value
    if value is ...:
        del place[last]
    return header


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (changed("epoch", -1), "epoch"),
        (changed("epoch", 1.5), "epoch"),
        (changed("epoch", True), "epoch"),
        (changed("batch", "0"), "batch"),
        (changed("batch", ...), "batch"),
        (changed("run", []), "run"),
        (changed("progress", ...), "progress"),
        (changed("progress", "best", ...), "progress: the key 'best' is missing"),
        (changed("progress", "best", "epoch", None), r"progress\.best\.epoch"),
        (changed("progress", "best", "score", "high"), r"progress\.best: score"),
        (changed("progress", "best", "val", 3), r"progress\.best\.val"),
        (changed("progress", "history", {}), r"progress\.history"),
        (changed("progress", "history", 0, 3), r"progress\.history\[0\]"),
        (changed("progress", "history", 0, "val", ["a"]), r"progress\.history\[0\]\.val"),
        (changed("progress", "losses", "one", [1.0, 1]), "progress: losses"),
        (changed("progress", "losses", "1", [1.0]), "progress.losses"),
        (changed("progress", "losses", "1", [1.0, -1]), "progress.losses"),
        ([1], "object"),
    ],
)
def test_every_entry_of_the_header_is_checked(file, header, named):
    text = json.dumps(header)
    metadata = {"format": "anytimenet-checkpoint-2", "header": text, "digest": digest_of(text, TENSORS)}
    file.write_bytes(safetensors.torch.save(TENSORS, metadata=metadata))
    with pytest.raises(TrainingError, match=rf"last\.safetensors is damaged.*{named}"):
        Checkpoint.load(file)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"epoch": 1'])
def test_a_header_that_is_no_json_is_damage(file, text):
    metadata = {"format": "anytimenet-checkpoint-2", "header": text, "digest": digest_of(text, TENSORS)}
    file.write_bytes(safetensors.torch.save(TENSORS, metadata=metadata))
    with pytest.raises(TrainingError, match="damaged"):
        Checkpoint.load(file)
