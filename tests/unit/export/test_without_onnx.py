"""What `pip install anytimenet[train]` brings is enough for the native engine, and so for `quickstart`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_NO_OTHER_ENGINES = """
import sys
for name in ("onnx", "onnxruntime", "onnxscript", "openvino"):
    sys.modules[name] = None
import anytimenet as an
net = an.create_net("isresnext_tiny", 10, in_channels=1)
look = an.Preprocessing(16, 16, 1, (0.5,), (0.5,))
bundle = an.Bundle.create(net, class_names=[[str(at) for at in range(10)]], preprocessing=look)
"""


def _run(program: str, folder: Path) -> str:
    command = [sys.executable, "-W", "error", "-c", _NO_OTHER_ENGINES + program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("format", ["native", "torch"])
def test_formats_that_are_no_onnx_need_none(tmp_path: Path, format: str) -> None:
    _run(f"from anytimenet.export import export; export(bundle, 'out', format={format!r})", tmp_path)
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_the_preferred_engine_needs_no_onnx(tmp_path: Path) -> None:
    """`quickstart` profiles with it in an environment that has nothing but PyTorch."""
    from anytimenet.runtime import Placement
    from anytimenet.runtime.backends.preferred import native_runs_at

    if reason := native_runs_at(Placement()):
        pytest.skip(reason)
    said = _run("print(an.profile(bundle, minutes=0.02, device='cpu').backend)", tmp_path)
    assert said.split() == ["native"]
