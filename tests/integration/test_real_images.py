"""A few hundred real photographs, where they are at hand: the command that the guides promise, end to end."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from anytimenet.cli.main import run


@pytest.mark.slow
@pytest.mark.parametrize("net", ["isresnext_small", "iresnext_small"])
def test_training_on_a_folder_of_cifar_images_beats_guessing_at_every_stage(shared_data, tmp_path, net):
    unpack = [sys.executable, str(shared_data / "unpack.py"), "cifar10", str(tmp_path / "cifar10")]
    subprocess.run([*unpack, "--per-class", "60"], check=True, capture_output=True)
    arguments = ["train", "folder", "--data", f"folder:{tmp_path / 'cifar10'}", "--net", net, "--quiet"]
    arguments += ["--image-size", "16", "--resample", "box", "--epochs", "6", "--limit", "500", "--seed", "1"]
    assert run([*arguments, "--out", str(tmp_path / "run")]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["count"] == 600
    assert all(stage["top1_low"] > 0.1 for stage in report["stages"])
