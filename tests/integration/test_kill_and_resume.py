"""kill -9 at any moment, then --resume: the weights are those of an uninterrupted run, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

COMMAND = [sys.executable, "-m", "anytimenet", "train", "digits", "--quiet"]
COMMAND += ["--checkpoint-steps", "3", "--threads", "1", "--device", "cpu"]
JOINT = ("--net", "isresnext_tiny", "--epochs", "6")
MIXED = (
    "--net",
    "efficientnet_lite_tiny",
    "--regime",
    "mixed",
    "--epochs",
    "1",
    "--head-epochs",
    "3",
    "--limit",
    "300",
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def weights(folder: Path) -> dict[tuple[str, str], Any]:
    shards = sorted((folder / "bundle").glob("model-*.safetensors"))
    assert shards
    return {(shard.name, name): array for shard in shards for name, array in load_file(shard).items()}


def start_and_kill(words: tuple[str, ...], out: Path, wait_for: Path, extra_s: float) -> bool:
    """Kills the run `extra_s` after `wait_for` changed; false if it was done before."""
    before = wait_for.stat().st_mtime_ns if wait_for.exists() else None
    command = [*COMMAND, *words, "--out", str(out), "--resume"]
    process = subprocess.Popen(command, env=ENVIRONMENT)
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        if wait_for.exists() and wait_for.stat().st_mtime_ns != before:
            time.sleep(extra_s)
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("words", [JOINT, MIXED])
def test_a_killed_run_resumes_to_equal_weights(tmp_path, words):
    command = [*COMMAND, *words, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], env=ENVIRONMENT, check=True, capture_output=True)
    out = tmp_path / "killed"
    last = out / "checkpoints" / "last.safetensors"
    kills = [start_and_kill(words, out, last, extra_s) for extra_s in (0.0, 0.11)]
    assert any(kills), "the run ended before it could be killed"
    assert not (out / "bundle").exists() or not all(kills)
    done = subprocess.run([*command, str(out), "--resume"], env=ENVIRONMENT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, expected = weights(out), weights(tmp_path / "whole")
    assert ours.keys() == expected.keys()
    assert all((ours[key] == expected[key]).all() for key in expected)
    assert (out / "report.csv").read_text() == (tmp_path / "whole" / "report.csv").read_text()
